"""Reads what the providers' SDKs know: whom they call, and what was asked.

Nothing here raises for odd values: what is not of the expected type is absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llm_cache_otel.facts import InferenceRequest
from llm_cache_otel.observe.remembered import Remembered
from llm_cache_otel.observe.reported import read

_PROVIDER_OF_CLIENT_CLASS = {
    "AzureOpenAI": "azure.ai.openai",
    "AsyncAzureOpenAI": "azure.ai.openai",
    "Anthropic": "anthropic",  # which Instructor(client=..., create=...) takes for OpenAI's
    "AsyncAnthropic": "anthropic",
    "BedrockOpenAI": "aws.bedrock",
    "AsyncBedrockOpenAI": "aws.bedrock",
    "AnthropicBedrock": "aws.bedrock",
    "AsyncAnthropicBedrock": "aws.bedrock",
    "AnthropicVertex": "gcp.vertex_ai",
    "AsyncAnthropicVertex": "gcp.vertex_ai",
}
_PROVIDER_OF_INSTRUCTOR_NAME = {
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure_openai": "azure.ai.openai",
}
"""GenAI conventions' `gen_ai.provider.name`, where Instructor's name for it is another."""

_PROVIDER_OF_PACKAGE = {"openai": "openai", "anthropic": "anthropic"}
"""By the SDK that is called, where Instructor knows no name: before 1.15.3 `instructor.patch` has none,
and `from_openai` goes by the address, of which it knows a few."""

_GENERATE_CONTENT = frozenset({"gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_SETTINGS: Mapping[str, tuple[str, type[int | float]]] = {
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", int),
    "max_tokens": ("max_tokens", int),
    "max_completion_tokens": ("max_tokens", int),
    "max_output_tokens": ("max_tokens", int),
    "frequency_penalty": ("frequency_penalty", float),
    "presence_penalty": ("presence_penalty", float),
    "seed": ("seed", int),
    "n": ("choice.count", int),
    "candidate_count": ("choice.count", int),
}
"""The SDKs' parameters: the last part of their `gen_ai.request.*` name, and its type there."""

_HAVE_SETTINGS = frozenset({*_SETTINGS, "config"})


def provider_name(instructor_name: str | None, client: Any, function: Any) -> str | None:
    """`gen_ai.provider.name`, told from the client that is called rather than copied from Instructor."""
    for kind in type(client).__mro__:
        if kind.__name__ in _PROVIDER_OF_CLIENT_CLASS:
            return _PROVIDER_OF_CLIENT_CLASS[kind.__name__]
    if client is None and _module(function) == "litellm":
        return "litellm"
    if instructor_name == "genai":
        vertex = getattr(client, "vertexai", None)
        if not isinstance(vertex, bool):
            return "gcp.gen_ai"
        return "gcp.vertex_ai" if vertex else "gcp.gemini"
    if instructor_name in (None, "unknown"):
        kinds = type(client or bound_client(function)).__mro__
        names = (_PROVIDER_OF_PACKAGE.get(_module(kind)) for kind in kinds)
        return next(filter(None, names), None)
    return _PROVIDER_OF_INSTRUCTOR_NAME.get(instructor_name, instructor_name)


def _module(function: Any) -> str:
    return (getattr(function, "__module__", None) or "").split(".")[0]


def bound_client(function: Any) -> Any | None:
    """The SDK client behind a bound method such as `client.chat.completions.create`."""
    return declared(getattr(function, "__self__", None), "_client")


def declared(holder: Any, name: str) -> Any | None:
    """An attribute that an SDK's object has, and not one that its `__getattr__` answers for.

    That of botocore's clients tells its event handlers, and with a client that is half made never ends.
    """
    if name in getattr(holder, "__dict__", ()) or hasattr(holder.__class__, name):
        return getattr(holder, name, None)
    return None


def _server(client: Any) -> tuple[str | None, int | None]:
    url = declared(client, "base_url")
    if url is None:
        url = declared(declared(client, "meta"), "endpoint_url")  # botocore's
    if url is None:
        options = declared(declared(client, "_api_client"), "_http_options")
        url = getattr(options, "base_url", None)
    return (None, None) if url is None else _address_of(url)


@lru_cache(maxsize=128)
def _address(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # no address, or no port that there is
        return None, None


# A URL of httpx takes its time to write itself down.
_address_of = Remembered(lambda url: _address(str(url)))


def inference_request(
    provider: str | None, client: Any, request: Mapping[str, Any]
) -> InferenceRequest:
    """What an attempt asks, from the keyword arguments that the SDK's function is called with."""
    address, port = _server(client)
    return InferenceRequest(
        operation="generate_content" if provider in _GENERATE_CONTENT else "chat",
        provider=provider,
        model=requested_model(request),
        server_address=address,
        server_port=port,
        stream=request.get("stream") is True,
        output_type=None if _FORMATS.isdisjoint(request) else _output_type(request),
        settings={} if _HAVE_SETTINGS.isdisjoint(request) else request_settings(request),
    )


def requested_model(request: Mapping[str, Any]) -> str | None:
    """As OpenAI's, Anthropic's and Google's SDKs name it, or boto3."""
    name = request.get("model")
    if type(name) is str:
        return name
    if name is None:
        name = request.get("modelId")
    # Of a class made of `str`, an enumeration's member say, what it is one of: it could do anything.
    return str.__str__(name) if isinstance(name, str) else None


def request_settings(request: Mapping[str, Any]) -> dict[str, float | int]:
    """The numbers among them, by the last parts of their `gen_ai.request.*` names."""
    found: dict[str, float | int] = {}
    config = request.get("config")  # google-genai keeps its settings in there
    for parameter, (name, kind) in _SETTINGS.items():
        value = request.get(parameter)
        if value is None and config is not None:
            value = read(config, parameter)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        with suppress(OverflowError):  # of a whole number that no float can hold
            if math.isfinite(value):
                found[name] = kind(value)
    if found.get("choice.count") == 1:
        del found["choice.count"]
    return found


_FORMATS = frozenset({"response_format", "text", "config"})


def _output_type(request: Mapping[str, Any]) -> str | None:
    """`json` where the request itself asks for JSON; a tool call is no output format."""
    for wanted in (request.get("response_format"), read(request.get("text"), "format")):
        if read(wanted, "type") in ("json_object", "json_schema"):
            return "json"
    mime_type = read(request.get("config"), "response_mime_type")
    return "json" if mime_type == "application/json" else None

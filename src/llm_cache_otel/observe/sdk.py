"""Reads what the providers' SDKs know: whom they call, what was asked, how the answer names itself.

Nothing here raises for odd values: what is not of the expected type is absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llm_cache_otel.facts import InferenceRequest, InferenceResponse
from llm_cache_otel.observe.reported import latest, read, reported_usage

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
_FAR_FUTURE = 253_402_300_800
"""The year 10,000, in seconds."""

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
    return (None, None) if url is None else _address(str(url))


@lru_cache(maxsize=128)
def _address(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # no address, or no port that there is
        return None, None


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
        output_type=_output_type(request),
        settings=request_settings(request),
    )


def requested_model(request: Mapping[str, Any]) -> str | None:
    """As OpenAI's, Anthropic's and Google's SDKs name it, or boto3."""
    name = request.get("model", request.get("modelId"))
    return name if isinstance(name, str) else None


def request_settings(request: Mapping[str, Any]) -> dict[str, float | int]:
    """The numbers among them, by the last parts of their `gen_ai.request.*` names."""
    found: dict[str, float | int] = {}
    config = request.get("config")  # google-genai keeps its settings in there
    if config is None and _SETTINGS.keys().isdisjoint(request):
        return found
    for parameter, (name, kind) in _SETTINGS.items():
        value = request.get(parameter)
        if value is None and config is not None:
            value = read(config, parameter)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if math.isfinite(value):
            found[name] = kind(value)
    if found.get("choice.count") == 1:
        del found["choice.count"]
    return found


def _output_type(request: Mapping[str, Any]) -> str | None:
    """`json` where the request itself asks for JSON; a tool call is no output format."""
    formats = (request.get("response_format"), read(request.get("text"), "format"))
    if any(read(wanted, "type") in ("json_object", "json_schema") for wanted in formats):
        return "json"
    mime_type = read(request.get("config"), "response_mime_type")
    return "json" if mime_type == "application/json" else None


def response_id(response: Any) -> str | None:
    """`InferenceResponse.id`, and nothing else."""
    of_bedrock = read(response, "ResponseMetadata")
    return _first_string([response, of_bedrock], ("id", "response_id", "RequestId"))


def inference_response(response: Any) -> InferenceResponse:
    """How a response, or one chunk of a stream, names itself, why it stopped, and what it reports.

    OpenAI chat (`id`, `model`, `choices[].finish_reason`), OpenAI Responses events (`response`),
    Anthropic (`stop_reason`, stream events' `message` and `delta`), google-genai (`response_id`,
    `model_version`, `candidates[].finish_reason`), Bedrock Converse (`ResponseMetadata`, `stopReason`).
    """
    around = ("message", "response", "ResponseMetadata")
    parts = [response, *(read(response, name) for name in around)]
    named = [part for part in parts if part is not None]
    return InferenceResponse(
        model=_first_string(named, ("model", "model_version")),
        id=_first_string(named, ("id", "response_id", "RequestId")),
        finish_reasons=_finish_reasons(response),
        reported=reported_usage(response),
        service_tier=_service_tier(response, named),
        created=_created(named),
        cache_miss=_cache_miss(named),
    )


def _cache_miss(parts: list[Any]) -> str | None:
    """Anthropic's cache diagnosis, for those who ask for it.

    https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics
    """
    found = (read(read(part, "diagnostics"), "cache_miss_reason") for part in parts)
    return _first_string([each for each in found if each is not None], ("type",))


def _first_string(parts: list[Any], names: tuple[str, ...]) -> str | None:
    for part in parts:
        for name in names:
            value = read(part, name)
            if isinstance(value, str) and value:
                return value
    return None


def _service_tier(response: Any, parts: list[Any]) -> str | None:
    """As what it was processed, `unreadable` if that can't be told.

    Of Bedrock's see https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
    """
    of_bedrock = None
    if len(parts) > 1 or isinstance(response, Mapping):  # with `ResponseMetadata`, as a dict
        latency = read(read(response, "performanceConfig"), "latency")
        if isinstance(latency, str) and latency == "optimized":
            return latency
        of_bedrock = read(response, "serviceTier")
        if isinstance(of_bedrock, Mapping):
            of_bedrock = of_bedrock.get("type")
    said = (*(read(part, "service_tier") for part in parts), of_bedrock)
    tier = next((each for each in said if each is not None), None)
    tier = tier.value if isinstance(tier, Enum) else tier
    return tier if isinstance(tier, str) or tier is None else "unreadable"


def _created(parts: list[Any]) -> float | None:
    """Seconds since the Unix epoch: OpenAI's `created` and `created_at`, Gemini's `create_time`."""
    for part in parts:
        for name in ("created", "created_at", "create_time"):
            value = read(part, name)
            with suppress(ValueError, OverflowError, OSError):
                if isinstance(value, str):
                    value = datetime.fromisoformat(value)
                if isinstance(value, datetime):
                    value = value.timestamp()
            if isinstance(value, (int, float)) and 0 < value < _FAR_FUTURE:
                return float(value)
    return None


def _finish_reasons(response: Any) -> tuple[str, ...]:
    return tuple(
        reason.name.lower() if isinstance(reason, Enum) else reason
        for reason in _stops(response)
        if isinstance(reason, (Enum, str))
    )


def _stops(response: Any) -> Iterator[Any]:
    """Of each answer that there are several of, or else of the only one."""
    for name in ("choices", "candidates"):
        several = read(response, name)
        if isinstance(several, (list, tuple)) and several:  # looking may use up anything else
            for each in several:
                reason = read(each, "finish_reason")
                yield read(each, "stop_reason") if reason is None else reason
            return
    for holder in (response, read(response, "delta")):
        yield from (read(holder, name) for name in ("finish_reason", "stop_reason", "stopReason"))


def reports_all(chunk: Any) -> bool:
    """Whether what a stream reports up to this chunk is what is billed.

    Gemini reports as it goes, and Anthropic the input with the first chunk; OpenAI all of it with the last.
    """
    if read(chunk, "response") is not None or read(chunk, "choices") == []:
        return reported_usage(chunk) is not None
    return bool(_finish_reasons(chunk))


def merged(earlier: InferenceResponse, later: InferenceResponse) -> InferenceResponse:
    """What a stream has said so far, after one more chunk."""
    if later == InferenceResponse():
        return earlier
    return InferenceResponse(
        model=earlier.model or later.model,
        id=earlier.id or later.id,
        finish_reasons=later.finish_reasons or earlier.finish_reasons,
        reported=latest(earlier.reported, later.reported),
        service_tier=later.service_tier or earlier.service_tier,
        created=earlier.created or later.created,
        cache_miss=earlier.cache_miss or later.cache_miss,
    )

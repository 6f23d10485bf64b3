"""Reads what the providers' SDKs know: whom they call, what was asked, how the answer names itself.

Nothing here raises for odd values: what is not of the expected type is absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llm_cache_otel.facts import InferenceRequest, InferenceResponse
from llm_cache_otel.observe.remembered import Remembered
from llm_cache_otel.observe.reported import Fields, fields_of, latest, read, reported_usage

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
        with suppress(OverflowError):  # of a whole number that no float can hold
            if math.isfinite(value):
                found[name] = kind(value)
    if found.get("choice.count") == 1:
        del found["choice.count"]
    return found


_FORMATS = frozenset({"response_format", "text", "config"})


def _output_type(request: Mapping[str, Any]) -> str | None:
    """`json` where the request itself asks for JSON; a tool call is no output format."""
    if _FORMATS.isdisjoint(request):
        return None
    for wanted in (request.get("response_format"), read(request.get("text"), "format")):
        if read(wanted, "type") in ("json_object", "json_schema"):
            return "json"
    mime_type = read(request.get("config"), "response_mime_type")
    return "json" if mime_type == "application/json" else None


def response_id(response: Any) -> str | None:
    """`InferenceResponse.id`, and nothing else."""
    fields = fields_of(response)
    of_bedrock = fields_of(fields.get("ResponseMetadata"))
    return _first_string([fields, of_bedrock], ("id", "response_id", "RequestId"))


def inference_response(response: Any) -> InferenceResponse:
    """How a response, or one chunk of a stream, names itself, why it stopped, and what it reports.

    OpenAI chat (`id`, `model`, `choices[].finish_reason`), OpenAI Responses events (`response`),
    Anthropic (`stop_reason`, stream events' `message` and `delta`), google-genai (`response_id`,
    `model_version`, `candidates[].finish_reason`), Bedrock Converse (`ResponseMetadata`, `stopReason`).
    """
    fields = fields_of(response)
    parts = [fields]
    for name in ("message", "response", "ResponseMetadata"):
        part = fields.get(name)
        if part is not None:
            parts.append(fields_of(part))
    return InferenceResponse(
        model=_first_string(parts, ("model", "model_version")),
        id=_first_string(parts, ("id", "response_id", "RequestId")),
        finish_reasons=tuple(_stops(fields)),
        reported=reported_usage(fields),
        service_tier=_service_tier(fields, parts),
        created=_created(parts),
        cache_miss=_cache_miss(parts),
    )


def _cache_miss(parts: list[Fields]) -> str | None:
    """Anthropic's cache diagnosis, for those who ask for it.

    https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics
    """
    for part in parts:
        diagnostics = part.get("diagnostics")
        if diagnostics is not None:
            found = read(read(diagnostics, "cache_miss_reason"), "type")
            if isinstance(found, str) and found:
                return found
    return None


def _first_string(parts: list[Fields], names: tuple[str, ...]) -> str | None:
    for part in parts:
        for name in names:
            value = part.get(name)
            if isinstance(value, str) and value:
                return value
    return None


def _service_tier(response: Fields, parts: list[Fields]) -> str | None:
    """As what it was processed, `unreadable` if that can't be told.

    Of Bedrock's see https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
    """
    latency = read(response.get("performanceConfig"), "latency")
    if isinstance(latency, str) and latency == "optimized":
        return latency
    tier = None
    for part in parts:
        tier = part.get("service_tier")
        if tier is not None:
            break
    if tier is None:
        tier = response.get("serviceTier")
        if isinstance(tier, Mapping):
            tier = tier.get("type")
    tier = tier.value if isinstance(tier, Enum) else tier
    return tier if isinstance(tier, str) or tier is None else "unreadable"


def _created(parts: list[Fields]) -> float | None:
    """Seconds since the Unix epoch: OpenAI's `created` and `created_at`, Gemini's `create_time`."""
    for part in parts:
        for name in ("created", "created_at", "create_time"):
            value = part.get(name)
            if isinstance(value, (str, datetime)):
                with suppress(ValueError, OverflowError, OSError):
                    when = datetime.fromisoformat(value) if isinstance(value, str) else value
                    value = when.timestamp()
            if isinstance(value, (int, float)) and 0 < value < _FAR_FUTURE:
                return float(value)
    return None


def _stops(response: Fields) -> list[str]:
    """Why each answer ended that there are several of, or else the only one."""
    found = []
    for name in ("choices", "candidates"):
        several = response.get(name)
        if isinstance(several, (list, tuple)) and several:  # looking may use up anything else
            for each in several:
                answer = fields_of(each)
                reason = answer.get("finish_reason")
                found.append(answer.get("stop_reason") if reason is None else reason)
            break
    else:
        for holder in (response, fields_of(response.get("delta"))):
            found += [holder.get(name) for name in ("finish_reason", "stop_reason", "stopReason")]
    return [
        reason.name.lower() if isinstance(reason, Enum) else reason
        for reason in found
        if isinstance(reason, (Enum, str))
    ]


def reports_all(chunk: Any) -> bool:
    """Whether what a stream reports up to this chunk is what is billed.

    Gemini reports as it goes, and Anthropic the input with the first chunk; OpenAI all of it with the last.
    """
    fields = fields_of(chunk)
    if fields.get("response") is not None or fields.get("choices") == []:
        return reported_usage(fields) is not None
    return bool(_stops(fields))


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

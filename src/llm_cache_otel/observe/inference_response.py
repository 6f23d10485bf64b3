"""Reads what an answer of an SDK's says: its names, why it ended, what it reports.

Nothing here raises for odd values: what is not of the expected type is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Any

from llm_cache_otel.facts import InferenceResponse
from llm_cache_otel.observe.reported import Fields, fields_of, latest, read, reported_usage

_FAR_FUTURE = 253_402_300_800
"""The year 10,000, in seconds."""


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

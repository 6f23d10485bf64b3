"""What the contract's spans say of a call, a store and an attempt, from the facts."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

from llm_cache_otel.emit import names
from llm_cache_otel.emit.bill_attributes import MaybeAttributes, call_attributes
from llm_cache_otel.emit.miss_attributes import miss_attributes
from llm_cache_otel.emit.sendable import LONGEST, sendable, sendable_value
from llm_cache_otel.facts import (
    BackendFacts,
    CallFacts,
    InferenceRequest,
    Inside,
    LookupFacts,
    Verdict,
)

Attributes = dict[str, AttributeValue]


def is_told_by_its_call(lookup: LookupFacts) -> bool:
    """A hit in memory, which takes no time worth a span; and what a function's cache in memory was asked."""
    if lookup.scope is not None or lookup.error_type is not None:
        return False
    return lookup.hit or lookup.get is None


def present(attributes: MaybeAttributes) -> Attributes:
    """Those that there are, as they can be sent."""
    found: Attributes = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if type(value) is str:
            kept: AttributeValue | None = value  # as most are
            if len(value) > LONGEST or not value.isascii():
                kept = sendable(value)
        else:
            kept = value if type(value) is float else sendable_value(value)
        if kept is not None:
            found[name] = kept
    return found


def of_call(call: CallFacts, verdict: Verdict | None) -> MaybeAttributes:
    key = call.key
    return {
        names.OUTCOME: verdict.outcome.value if verdict and verdict.outcome else None,
        names.REASON: verdict.reason.value if verdict and verdict.reason else None,
        names.BACKEND: call.backend,
        names.NAME: call.name,
        names.KEY_DIGEST: verdict.key_digest if verdict else None,
        names.KEY_DURATION: key.interval.seconds if key else None,
        names.BYPASS_PART: key.unserializable_part if key else None,
        names.SCHEMA_DIGEST: call.schema_digest,
        names.TTL: call.ttl,
        names.ENTRY_SIZE: _found_size(call.lookup),
        names.NAMESPACE_SHARED: call.namespace_shared,
        names.SAVED_DURATION: verdict.saved_duration if verdict else None,
        **(call_attributes(verdict) if verdict else {}),
        **(miss_attributes(call, verdict) if verdict else {}),
        names.ATTEMPTS: None if Inside.ATTEMPTS in call.unseen else len(call.attempts),
        names.GEN_AI_PROVIDER_NAME: call.provider,
        names.GEN_AI_REQUEST_MODEL: call.model,
        names.MODE: call.mode,
    }


def _found_size(lookup: LookupFacts | None) -> int | None:
    """Where no span of its own tells it."""
    if lookup is None or lookup.get is None or not is_told_by_its_call(lookup):
        return None
    return lookup.get.entry_size


def of_backend(backend: BackendFacts) -> MaybeAttributes:
    return {
        names.BACKEND: backend.backend,
        names.NAME: backend.name if backend.scope is not None else None,
        names.HIT: backend.hit,
        names.ENTRY_SIZE: backend.entry_size,
        names.TTL: backend.ttl,
    }


def at_creation(request: InferenceRequest) -> MaybeAttributes:
    """What samplers see: operation, provider, model, server, and the request's settings."""
    return {
        names.GEN_AI_OPERATION_NAME: request.operation,
        names.GEN_AI_PROVIDER_NAME: request.provider,
        names.GEN_AI_REQUEST_MODEL: request.model,
        names.SERVER_ADDRESS: request.server_address,
        names.SERVER_PORT: request.server_port,
        names.GEN_AI_REQUEST_STREAM: True if request.stream else None,
        names.GEN_AI_OUTPUT_TYPE: request.output_type,
        **{names.GEN_AI_REQUEST_PREFIX + name: value for name, value in request.settings.items()},
    }

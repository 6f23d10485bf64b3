"""What to tell the user about a cause that makes caching pointless, and what would mend it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import assert_never

from llm_cache_otel.facts import (
    BypassReason,
    CallFacts,
    ErrorReason,
    FunctionHits,
    StaleModel,
    Verdict,
)
from llm_cache_otel.facts.fact import fact


@fact
class Advice:
    """`text`, to be told once for each `cause`."""

    cause: tuple[Hashable, ...]
    text: str


def advice_for(call: CallFacts, verdict: Verdict) -> Advice | None:
    """The advice that a call calls for, if any.

    Only names stand in it: a response model's, a class's, a request parameter's. Never a value.
    """
    reason = verdict.reason
    if reason is ErrorReason.ENTRY_INVALID:
        return _entry_advice(call)
    if not isinstance(reason, BypassReason) or call.function is not None:
        return None  # of a function, the decorator says more itself
    part = call.key.unserializable_part if call.key is not None else None
    response_model = call.response_model if reason is BypassReason.NOT_A_MODEL else None
    cause = (reason, call.name, call.provider, call.backend, response_model, part)
    return Advice(cause, _bypass_text(reason, call, part))


def stale_model(hits: FunctionHits, stale: StaleModel) -> Advice:
    """Of a function whose cache does not know that it would ask another model."""
    return Advice(
        ("stale model", hits.function, stale.kept, stale.asked),
        f"{hits.function}() answers from its cache with what {stale.kept} said, though it would ask "
        f"{stale.asked} by now: functools.cache goes by a function's arguments only. Make the model an "
        f"argument of it, or call {hits.function}.cache_clear() when the model changes.",
    )


def _entry_advice(call: CallFacts) -> Advice:
    if call.function is not None:
        return Advice(
            (ErrorReason.ENTRY_INVALID, call.name, call.function),
            f"A cached entry of {call.function}() no longer validates, and its decorator raises instead of "
            "asking the provider. Delete the entry, and make the model's schema a part of the key: "
            "llm_cache_otel.instructor_cache does.",
        )
    return Advice(
        (ErrorReason.ENTRY_INVALID, call.name, call.response_model),
        f"A cached entry for {call.response_model or 'a response model'} no longer validates, and "
        "Instructor raises instead of asking the provider. Delete the entry, or give changed models a "
        "new cache_namespace; a response_model that is a Union can not be cached at all: wrap it in a "
        "model with one Union field.",
    )


def _bypass_text(reason: BypassReason, call: CallFacts, part: str | None) -> str:
    model = call.response_model or "this call"
    match reason:
        case BypassReason.UNSERIALIZABLE_REQUEST:
            where = f"'{part}'" if part else "a value in the request or on the client"
            return (
                f"Calls are not cached: Instructor can build no cache key because {where} can't be "
                f"written as JSON. {_serialization_mend(part)}"
            )
        case BypassReason.NOT_A_CACHE:
            return (
                f"Calls are not cached: cache= was given a {call.backend}, which Instructor ignores "
                "because it is no instructor.cache.BaseCache. Derive the adapter from BaseCache."
            )
        case BypassReason.STREAMING:
            return (
                f"Streamed calls ({model}) are never cached: Instructor looks them up but does not store "
                "them. Use create() where an answer should be reused."
            )
        case BypassReason.NOT_A_MODEL:
            return (
                f"Calls for {model} are never cached: Instructor stores Pydantic models only. Wrap the "
                "type in a model with one field, e.g. class Answer(BaseModel): items: list[Item]."
            )
        case BypassReason.NO_RESPONSE_MODEL:
            return (
                "Calls with response_model=None are never cached by Instructor. Give them a response "
                "model, or cache them around the call."
            )
        case BypassReason.PARALLEL_TOOLS:
            return (
                "Calls in parallel tools mode are never cached by Instructor. Use one response model "
                "with a list field where an answer should be reused."
            )
        case _:
            assert_never(reason)


def _serialization_mend(part: str | None) -> str:
    if part is not None and part.startswith("client."):
        return (
            "The value sits on the provider's client (known cases are anthropic clients since "
            "anthropic 1.10, and Azure token providers), so no call of this client is cached by "
            "Instructor. Use a client without it, or cache around the call, for example with "
            "llm_cache_otel.instructor_cache."
        )
    if part is not None and part.startswith("request.timeout"):
        return "Pass timeout as a number of seconds, or set it on the provider's client."
    return "Pass values that JSON can hold: numbers, strings, lists, dicts or Pydantic models."

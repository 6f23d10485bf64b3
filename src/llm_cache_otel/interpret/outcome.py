"""What the response cache did, told from the facts of one call."""

from __future__ import annotations

from typing import assert_never

from llm_cache_otel.facts import (
    AnswerKind,
    BypassReason,
    CacheGiven,
    CallFacts,
    ErrorReason,
    Inside,
    LookupFacts,
    Outcome,
    Reason,
)


def outcome_of(call: CallFacts) -> tuple[Outcome | None, Reason | None]:
    """The outcome and its reason, of which a hit has none; no outcome where nothing tells it.

    A `bypass` without a reason is a call that failed before its cache had answered, and not for it: none of
    the closed reasons is its evidence, and `error.type` says what happened.
    """
    match call.cache:
        case CacheGiven.NOTHING:
            return Outcome.OFF, None
        case CacheGiven.NOT_A_CACHE:
            return Outcome.BYPASS, BypassReason.NOT_A_CACHE
        case CacheGiven.ADAPTER:
            if call.lookup is not None:
                return _of_lookup(call, call.lookup)
            if Inside.LOOKUP in call.unseen:
                return _without_lookup(call)
            return Outcome.BYPASS, _why_never_asked(call)
        case _:
            assert_never(call.cache)


def _of_lookup(call: CallFacts, lookup: LookupFacts) -> tuple[Outcome, Reason | None]:
    if lookup.interrupted:
        return Outcome.BYPASS, None
    if lookup.get is not None and lookup.get.error_type is not None:
        return Outcome.ERROR, ErrorReason.BACKEND_UNAVAILABLE
    if lookup.error_type is not None:
        return Outcome.ERROR, ErrorReason.ENTRY_INVALID
    if lookup.hit:
        return Outcome.HIT, None
    reason = _why_never_stored(call.answer)
    if reason is not None:
        return Outcome.BYPASS, reason
    return Outcome.MISS, None if call.miss is None else call.miss.reason


def _without_lookup(call: CallFacts) -> tuple[Outcome | None, Reason | None]:
    """Told from whether the provider was called, and from nothing where that is not seen either."""
    reason = _why_never_asked(call) or _why_never_stored(call.answer)
    if reason is not None:
        return Outcome.BYPASS, reason
    if Inside.ATTEMPTS in call.unseen:
        return None, None
    if call.attempts:
        return Outcome.MISS, None
    return (Outcome.HIT, None) if call.error_type is None else (None, None)


def _why_never_asked(call: CallFacts) -> BypassReason | None:
    if call.answer in (AnswerKind.NOTHING, AnswerKind.PARALLEL_TOOLS):
        return _why_never_stored(call.answer)
    if call.key is not None and call.key.key is None:
        return BypassReason.UNSERIALIZABLE_REQUEST
    return None


def _why_never_stored(answer: AnswerKind) -> BypassReason | None:
    match answer:
        case AnswerKind.MODEL | AnswerKind.UNDECIDED:
            return None
        case AnswerKind.STREAM:
            return BypassReason.STREAMING
        case AnswerKind.NOT_A_MODEL:
            return BypassReason.NOT_A_MODEL
        case AnswerKind.NOTHING:
            return BypassReason.NO_RESPONSE_MODEL
        case AnswerKind.PARALLEL_TOOLS:
            return BypassReason.PARALLEL_TOOLS
        case _:
            assert_never(answer)

"""What facts mean, without any of the world they came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llm_cache_otel.facts import (
    AnswerKind,
    BackendFacts,
    BypassReason,
    CacheGiven,
    CallFacts,
    ErrorReason,
    Interval,
    KeyFacts,
    LookupFacts,
    Operation,
    Outcome,
    StoreFacts,
    Verdict,
)
from llm_cache_otel.interpret.advice import advice_for
from llm_cache_otel.interpret.bills import Bills
from llm_cache_otel.interpret.outcome import outcome_of
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.rates import PriceTable

SECOND = 1_000_000_000
SPENT = Interval(0, SECOND)
GET = BackendFacts(Operation.GET, SPENT, "memory", None, hit=False)
KEY = KeyFacts(SPENT, key="0123456789abcdef")
MISSED = LookupFacts(SPENT, hit=False, get=GET)
CALL = CallFacts(SPENT, CacheGiven.ADAPTER, AnswerKind.MODEL, key=KEY, lookup=MISSED)


def call(**changes: Any) -> CallFacts:
    return replace(CALL, **changes)


NEVER_ASKED: dict[str, Any] = {"key": None, "lookup": None}
NO_KEY: dict[str, Any] = {"key": KeyFacts(SPENT, key=None), "lookup": None}


@pytest.mark.parametrize(
    ("facts", "outcome", "reason"),
    [
        (call(), Outcome.MISS, None),
        (call(error_type="openai.APITimeoutError"), Outcome.MISS, None),
        (call(lookup=LookupFacts(SPENT, hit=True, get=replace(GET, hit=True))), Outcome.HIT, None),
        (
            call(answer=AnswerKind.STREAM, lookup=LookupFacts(SPENT, hit=True, get=GET)),
            Outcome.HIT,
            None,
        ),
        (call(cache=CacheGiven.NOTHING, **NEVER_ASKED), Outcome.OFF, None),
        (
            call(cache=CacheGiven.NOTHING, answer=AnswerKind.NOTHING, **NEVER_ASKED),
            Outcome.OFF,
            None,
        ),
        (
            call(cache=CacheGiven.NOT_A_CACHE, **NEVER_ASKED),
            Outcome.BYPASS,
            BypassReason.NOT_A_CACHE,
        ),
        (call(**NO_KEY), Outcome.BYPASS, BypassReason.UNSERIALIZABLE_REQUEST),
        (
            call(answer=AnswerKind.STREAM, **NO_KEY),
            Outcome.BYPASS,
            BypassReason.UNSERIALIZABLE_REQUEST,
        ),
        (call(answer=AnswerKind.STREAM), Outcome.BYPASS, BypassReason.STREAMING),
        (call(answer=AnswerKind.NOT_A_MODEL), Outcome.BYPASS, BypassReason.NOT_A_MODEL),
        (call(answer=AnswerKind.UNDECIDED), Outcome.MISS, None),
        (
            call(answer=AnswerKind.NOTHING, **NEVER_ASKED),
            Outcome.BYPASS,
            BypassReason.NO_RESPONSE_MODEL,
        ),
        (
            call(answer=AnswerKind.PARALLEL_TOOLS, **NO_KEY),
            Outcome.BYPASS,
            BypassReason.PARALLEL_TOOLS,
        ),
        (call(error_type="ValueError", **NEVER_ASKED), Outcome.BYPASS, None),
        (
            call(
                lookup=replace(
                    MISSED,
                    get=replace(GET, hit=None, error_type="ConnectionError"),
                    error_type="ConnectionError",
                )
            ),
            Outcome.ERROR,
            ErrorReason.BACKEND_UNAVAILABLE,
        ),
        (
            call(lookup=replace(MISSED, get=replace(GET, hit=True), error_type="ValidationError")),
            Outcome.ERROR,
            ErrorReason.ENTRY_INVALID,
        ),
    ],
)
def test_outcome(facts: CallFacts, outcome: Outcome, reason: object) -> None:
    assert outcome_of(facts) == (outcome, reason)


def test_every_bypass_has_advice_that_says_what_to_do() -> None:
    for reason in BypassReason:
        advice = advice_for(call(backend="DuckCache"), Verdict(Outcome.BYPASS, reason))
        assert advice is not None
        assert advice.text.count(".") >= 2, "what is wrong, and then what to do"
    entry = advice_for(call(), Verdict(Outcome.ERROR, ErrorReason.ENTRY_INVALID))
    assert entry is not None
    for verdict in (Verdict(Outcome.HIT), Verdict(Outcome.MISS), Verdict(Outcome.BYPASS)):
        assert advice_for(call(), verdict) is None


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("client.organization", "provider's client"),
        ("request.timeout", "number of seconds"),
        ("context", "JSON can hold"),
        (None, "a value in the request or on the client"),
    ],
)
def test_what_cannot_be_a_key_is_named_with_its_mend(part: str | None, says: str) -> None:
    facts = call(key=KeyFacts(SPENT, key=None, unserializable_part=part))
    advice = advice_for(facts, Verdict(Outcome.BYPASS, BypassReason.UNSERIALIZABLE_REQUEST))
    assert advice is not None
    assert says in advice.text
    assert part is None or f"'{part}'" in advice.text


STORED = StoreFacts(SPENT, set=replace(GET, operation=Operation.SET, hit=None))


class Durations:
    """What hits save of time; of money there is more in test_money.py and test_ledger.py."""

    def __init__(self) -> None:
        self._bills = Bills(Prices({}, {}, PriceTable.OFF), [].append)

    def saved_by(self, facts: CallFacts, outcome: Outcome) -> float | None:
        stored = self._bills.saved_by(facts, outcome, ())
        return None if stored is None else stored.saved_by(facts.interval.seconds)


def test_a_hit_saves_what_the_storing_call_took_longer() -> None:
    durations = Durations()
    stored = call(interval=Interval(0, 3 * SECOND), store=STORED)
    assert durations.saved_by(stored, Outcome.MISS) is None
    assert durations.saved_by(call(), Outcome.HIT) == 2.0
    slow = call(interval=Interval(0, 9 * SECOND))
    assert durations.saved_by(slow, Outcome.HIT) == 0.0
    another = call(key=replace(KEY, key="f" * 16))
    assert durations.saved_by(another, Outcome.HIT) is None


def test_a_store_that_failed_is_not_remembered() -> None:
    durations = Durations()
    failed = replace(STORED, error_type="ConnectionError")
    durations.saved_by(call(store=failed), Outcome.MISS)
    assert durations.saved_by(call(), Outcome.HIT) is None


def test_the_oldest_are_forgotten() -> None:
    durations = Durations()
    keys = [replace(KEY, key=f"{number:016x}") for number in range(8_193)]
    for key in keys:
        durations.saved_by(call(key=key, store=STORED), Outcome.MISS)
    assert durations.saved_by(call(key=keys[0]), Outcome.HIT) is None
    assert durations.saved_by(call(key=keys[2]), Outcome.HIT) is not None

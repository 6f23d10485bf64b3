"""What the attempts of a call took and cost, and what a hit spared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from weakref import WeakKeyDictionary

from llm_cache_otel.facts import (
    AttemptFacts,
    Bill,
    CallFacts,
    Charge,
    Cost,
    InferenceResponse,
    Origin,
    Outcome,
    Reported,
    Unpriced,
)
from llm_cache_otel.interpret.inference import inference_of
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.stored_calls import StoredCall, StoredCalls
from llm_cache_otel.interpret.usage import usage_of

OnDropped = Callable[[str], None]
"""Told the name of every count that was reported and can't be."""


class Bills:
    """Thread-safe."""

    def __init__(self, prices: Prices, on_dropped: OnDropped) -> None:
        self._prices = prices
        self._on_dropped = on_dropped
        self._stored = StoredCalls()
        self._of_origins: WeakKeyDictionary[Origin, Bill] = WeakKeyDictionary()

    def knows(self, key: str, response_id: str | None) -> bool:
        """Whether it is known what stored an entry, if it is made of this very response still."""
        stored = self._stored.get(hash(key))
        return stored is not None and response_id == stored.response_id

    @property
    def failure(self) -> BaseException | None:
        """Why there are no prices at all, if so."""
        return self._prices.failure

    def prepare(self) -> Callable[[], None] | None:
        """What has prices ready, which takes its time; `None` if they are, or are not wanted."""
        return None if self._prices.is_loaded or self._prices.are_off else self._prices.load

    def with_origin(self, call: CallFacts) -> CallFacts:
        """With what is known of how a function's answer came about, and of whom."""
        origin = call.origin
        if origin is None and call.entry is not None:
            stored = self._stored.get(call.entry)
            origin = None if stored is None else stored.origin
        if origin is None:
            return call
        return replace(call, origin=origin, provider=origin.provider, model=origin.model)

    def of_origin(self, origin: Origin) -> Bill:
        """What the answer took, each time that it is asked for."""
        if not origin.is_observed:
            return Bill(unpriced=None if self._prices.are_off else Unpriced.NO_USAGE)
        bill = self._of_origins.get(origin)
        if bill is None:
            charges = (
                self._bill(each.provider, each.model, each.response, each.seconds, _prices_of(each))
                for each in origin.charges
            )
            bill = self._of_origins[origin] = replace(total(charges), is_least=not origin.is_whole)
        return bill

    def of_attempts(self, call: CallFacts) -> tuple[Bill | None, ...]:
        """One for each attempt; `None` for one that failed before there was any answer."""
        return tuple(self._of_attempt(attempt) for attempt in call.attempts)

    def _of_attempt(self, attempt: AttemptFacts) -> Bill | None:
        if attempt.error_type is not None and attempt.response == InferenceResponse():
            return None
        request = attempt.request
        seconds = attempt.interval.start_ns / 1e9
        return self._bill(request.provider, request.model, attempt.response, seconds)

    def saved_by(
        self, call: CallFacts, outcome: Outcome | None, bills: Iterable[Bill | None]
    ) -> StoredCall | None:
        """What the call took that stored what a hit has found; `None` for what is no hit.

        A call that stored its answer is remembered for later hits.
        """
        key = _entry(call)
        if call.function is not None:
            return self._saved_by_function(call, outcome)
        if outcome is Outcome.HIT:
            entry = (call.lookup and call.lookup.stored) or InferenceResponse()
            stored = None if key is None else self._stored.get(key)
            if stored is None or not stored.may_be_of(entry):
                stored = StoredCall(None, self._of_entry(call, entry), entry.id)
                self._remember(key, stored)
            return stored
        if call.store is not None and call.store.error_type is None:
            response_id = call.attempts[-1].response.id if call.attempts else None
            seconds = call.interval.seconds
            self._remember(key, StoredCall(seconds, total(bills), response_id))
        return None

    def _saved_by_function(self, call: CallFacts, outcome: Outcome | None) -> StoredCall | None:
        origin = call.origin or Origin()
        stored = StoredCall(origin.seconds, self.of_origin(origin), origin=origin)
        if outcome is Outcome.HIT:
            return stored
        if call.store is not None and call.store.error_type is None:
            self._remember(call.entry, stored)
        return None

    def _remember(self, entry: Hashable, call: StoredCall) -> None:
        if entry is not None:
            self._stored.put(entry, call)

    def _of_entry(self, call: CallFacts, response: InferenceResponse) -> Bill:
        seconds = call.interval.start_ns / 1e9
        bill = self._bill(call.provider, call.model, response, seconds)
        is_least = not _is_total(call.provider, response.reported)
        if bill.usage is not None and bill.cost is not None and not is_least:
            most = inference_of(call.provider, call.model, response, bill.usage.at_most(), seconds)
            cost = self._prices.cost_of(most)
            is_least = isinstance(cost, Cost) and cost.spent > bill.cost.spent
        return replace(bill, is_least=is_least)

    def _bill(
        self,
        provider: str | None,
        model: str | None,
        response: InferenceResponse,
        seconds: float,
        prices: Prices | None = None,
    ) -> Bill:
        prices = prices or self._prices
        reading = usage_of(response.reported)
        for name in reading.dropped:
            self._on_dropped(name)
        usage = reading.usage
        if prices.are_off:
            return Bill(usage)
        if usage is None:
            return Bill(unpriced=Unpriced.NO_USAGE)
        cost = prices.cost_of(inference_of(provider, model, response, usage, seconds))
        if isinstance(cost, Unpriced):
            return Bill(usage, unpriced=cost)
        return Bill(usage, cost)


def total(bills: Iterable[Bill | None]) -> Bill:
    """Of several attempts together; what is not known of each is not known of all."""
    billed = [bill for bill in bills if bill is not None]
    usages = [bill.usage for bill in billed if bill.usage is not None]
    costs = [bill.cost for bill in billed if bill.cost is not None]
    all_known = len(usages) == len(billed) > 0
    all_priced = len(costs) == len(billed) > 0
    return Bill(
        usage=sum(usages[1:], usages[0]) if all_known else None,
        cost=sum(costs[1:], costs[0]) if all_priced else None,
        unpriced=next((bill.unpriced for bill in billed if bill.unpriced is not None), None),
    )


def _prices_of(charge: Charge) -> Prices | None:
    """Those of the client that was asked; `None` where it was another process's."""
    return charge.prices if isinstance(charge.prices, Prices) else None


def _entry(call: CallFacts) -> int | None:
    """Tells an entry by its key, without keeping that."""
    return None if call.key is None or call.key.key is None else hash(call.key.key)


_TOTALLING = frozenset({"openai", "azure.ai.openai", "anthropic"})


def _is_total(provider: str | None, reported: Reported | None) -> bool:
    """Whether Instructor stored the total over all attempts.

    It adds up for OpenAI's chat completions and Anthropic's messages; of others the last attempt's stay.
    (Before 1.16 without what was written to a prompt cache, or without how long for.)
    """
    names = reported or {}
    return provider in _TOTALLING and "input_tokens_details" not in names

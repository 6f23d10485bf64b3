"""What is spent while a function runs whose answer is cached: a hit of it spares that."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from llm_cache_otel.facts import AttemptFacts, Charge, InferenceResponse, Origin

_MOST = 256
"""Answers of providers, in one run of a function."""


class Spending:
    """By all that the function calls, also in threads and tasks that have its context. Thread-safe.

    `around` is that of a function that calls this one, and pays for it.
    """

    def __init__(self, around: Spending | None) -> None:
        self._around = around
        self._charges: list[Charge] = []
        self._is_observed = False
        self._is_whole = True

    def add(self, attempts: Iterable[AttemptFacts], prices: object = None) -> None:
        """What one observed call took, perhaps nothing; by whose `prices`."""
        charges = [_charge(each, prices) for each in attempts if _is_answered(each)]
        spending: Spending | None = self
        while spending is not None:
            spending._is_observed = True
            if len(spending._charges) + len(charges) > _MOST:
                spending._is_whole = False
            else:
                spending._charges.extend(charges)
            spending = spending._around

    @property
    def is_any(self) -> bool:
        """Whether a provider was asked, as far as that is observed."""
        return bool(self._charges)

    def origin(self, seconds: float) -> Origin:
        return Origin(tuple(self._charges), seconds, self._is_observed, self._is_whole)


def _is_answered(attempt: AttemptFacts) -> bool:
    return attempt.error_type is None or attempt.response != InferenceResponse()


def _charge(attempt: AttemptFacts, prices: object) -> Charge:
    request = attempt.request
    seconds = attempt.interval.start_ns / 1e9
    return Charge(request.provider, request.model, attempt.response, seconds, prices)


current_spending: ContextVar[Spending | None] = ContextVar("llm_cache_otel_spending", default=None)
"""Of the innermost function that is observed and runs."""

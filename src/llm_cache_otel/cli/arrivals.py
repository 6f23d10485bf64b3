"""When something of llm-cache-otel has come to a receiver."""

from __future__ import annotations

import time
from typing import TypeVar

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.watched import Watched
from llm_cache_otel.cli.wording import ago

_T = TypeVar("_T")

_SETTLED = 2.0
"""Seconds without anything new: a process that ends sends its last spans and metrics together."""


class Arrivals:
    """Finds out by looking now and then: senders send every few seconds at the most."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        self.receiver = receiver
        self.watched = Watched(receiver.spans, receiver.metrics())
        self._spans_at: float | None = None
        self._metrics_at: float | None = None
        self._newest: tuple[object, object] = (None, None)

    def look(self) -> bool:
        """Whether anything, of ours or not, has come since the last look."""
        spans, metrics = self.receiver.spans, self.receiver.metrics()
        newest = _last(spans), _last(metrics.points)
        if all(one is known for one, known in zip(newest, self._newest, strict=True)):
            return False
        self._newest = newest
        before, self.watched = self.watched, Watched(spans, metrics)
        if self.watched.newest_span is not before.newest_span:
            self._spans_at = time.monotonic()
        if self.watched.newest_point is not before.newest_point:
            self._metrics_at = time.monotonic()
        return True

    def any(self) -> bool:
        return (self._spans_at, self._metrics_at) != (None, None)

    def settled(self) -> bool:
        """Whether spans and metrics have come, and then no more for a while."""
        if self._spans_at is None or self._metrics_at is None:
            return False
        return time.monotonic() - max(self._spans_at, self._metrics_at) >= _SETTLED

    def ages(self) -> tuple[str, str]:
        """How long ago spans and metrics came last, in words."""
        return _age("spans", self._spans_at), _age("metrics", self._metrics_at)


def _age(what: str, at: float | None) -> str:
    return f"no {what} yet" if at is None else f"{what} {ago(time.monotonic() - at)}"


def _last(sequence: list[_T] | tuple[_T, ...]) -> _T | None:
    return sequence[-1] if sequence else None

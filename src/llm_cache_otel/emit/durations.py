"""Keeps what is measured, for the SDK to be told of it in one go: a record that is not alone is cheaper."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram

from llm_cache_otel.emit.tally import Labels

_NOWHERE = Context()

_MOST = 1_024
"""Values that are kept: where calls come faster than they are told of, no batch ends."""


@dataclass(slots=True, eq=False, repr=False)
class _Series:
    """What was measured under the same labels; of each bucket the last with a context, by its number."""

    labels: Labels
    values: list[float] = field(default_factory=list[float])
    exemplars: dict[int, tuple[int, Context]] = field(
        default_factory=dict[int, tuple[int, Context]]
    )


class Durations:
    """Of one histogram, in seconds. Not thread-safe."""

    def __init__(self, histogram: Histogram, boundaries: Sequence[float]) -> None:
        self.histogram = histogram
        self._boundaries = boundaries
        self._series: dict[int, _Series] = {}
        self._kept = 0

    def record(self, seconds: float, labels: Labels, context: Context | None = None) -> None:
        """`context` is of a span that is sampled, if there is one."""
        if self._kept >= _MOST:
            self.pass_on()
        series = self._series.get(id(labels))
        if series is None:
            series = self._series[id(labels)] = _Series(labels)
        if context is not None:
            bucket = bisect_left(self._boundaries, seconds)
            series.exemplars[bucket] = len(series.values), context
        series.values.append(seconds)
        self._kept += 1

    def pass_on(self) -> None:
        """With the contexts that a histogram keeps as exemplars: of each bucket the last."""
        noted, self._series, self._kept = self._series, {}, 0
        for series in noted.values():
            contexts = dict(series.exemplars.values())
            for number, seconds in enumerate(series.values):
                context = contexts.get(number, _NOWHERE)
                self.histogram.record(seconds, series.labels, context)

"""What a receiver has received, decoded: spans, and the points of metrics.

Nothing here knows OTLP's messages, nor this package's own telemetry.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Attributes = Mapping[str, Any]
"""Values are `str`, `bool`, `int`, `float`, `bytes`, tuples and dicts of these, or `None`."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span. Ids are lower-case hex, times nanoseconds since the Unix epoch.

    `kind` is OTLP's name without its prefix (`INTERNAL`, `CLIENT`, …), `scope` the instrumentation
    scope's name, `events` and `links` the names of events and the span ids of links.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    resource: Attributes
    scope: str
    is_error: bool = False
    status_description: str = ""
    events: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Histogram:
    """How measurements were distributed: explicit boundaries and exponential ones alike.

    `buckets` has the number of measurements by `(lower, upper]`, either of which may be infinite.
    `least` and `most` are the extremes, `None` where a sender left them out.
    """

    count: int = 0
    sum: float = 0.0
    buckets: Mapping[tuple[float, float], int] = field(
        default_factory=dict[tuple[float, float], int]
    )
    least: float | None = None
    most: float | None = None

    def __add__(self, other: Histogram) -> Histogram:
        if not self.count or not other.count:
            return self if self.count else other
        return Histogram(
            count=self.count + other.count,
            sum=self.sum + other.sum,
            buckets=Counter(self.buckets) + Counter(other.buckets),
            least=_known(min, self.least, other.least),
            most=_known(max, self.most, other.most),
        )

    @property
    def average(self) -> float | None:
        """Exact; `None` where nothing was measured."""
        return self.sum / self.count if self.count else None

    def quantile(self, fraction: float) -> float | None:
        """About the value that `fraction` (0 to 1) of the measurements do not exceed.

        Taken to be spread evenly within a bucket, so no better than the boundaries are fine; within
        the extremes where these are known. `None` where nothing was measured.
        """
        rank = fraction * sum(self.buckets.values())
        reached = 0
        for (lower, upper), count in sorted(self.buckets.items(), key=lambda item: item[0][1]):
            if count and reached + count >= rank:
                low, high = self._within_extremes(lower, upper)
                return low + (high - low) * (rank - reached) / count
            reached += count
        return None

    def _within_extremes(self, lower: float, upper: float) -> tuple[float, float]:
        low = lower if self.least is None else max(lower, self.least)
        high = upper if self.most is None else min(upper, self.most)
        # An open bucket says no more than its one boundary.
        low = low if math.isfinite(low) else min(0.0, high)
        high = high if math.isfinite(high) else low
        return low, max(low, high)


def _known(choose: Any, one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else choose(one, other)


@dataclass(frozen=True, slots=True)
class Point:
    """The newest state of one time series: one metric, set of attributes and resource.

    `value` is a `Histogram`, or the number of a counter or gauge. `start_ns` (0 for gauges) changes
    when a process begins to count anew. `is_delta` values count since the point before.
    """

    metric: str
    unit: str
    attributes: Attributes
    resource: Attributes
    scope: str
    start_ns: int
    time_ns: int
    value: float | Histogram
    is_delta: bool = False

    @property
    def series(self) -> Hashable:
        """What is the same for all points of one series."""
        start = None if self.is_delta else self.start_ns
        return self.metric, self.scope, start, _ordered(self.attributes), _ordered(self.resource)

    def after(self, earlier: Point) -> Point:
        """The series' state when this point arrives after `earlier` has."""
        if self.is_delta:
            total: Any = self.value
            return replace(self, start_ns=earlier.start_ns, value=earlier.value + total)
        return self if self.time_ns >= earlier.time_ns else earlier


def _ordered(attributes: Attributes) -> str:
    return repr(sorted(attributes.items()))


_SILENCE = 90.0
"""Seconds: an SDK exports every 60 unless told otherwise, and gives an export up after 30."""


class ReceivedMetrics:
    """The newest points of all series. Sums are taken over every process that sent any."""

    def __init__(self, points: tuple[Point, ...]) -> None:
        self.points = points

    def without_ended(self, silence: float = _SILENCE) -> ReceivedMetrics:
        """Without gauges of processes that have ended: what these counted did happen and stays.

        Nothing says that a process has ended. One that is silent for more than `silence` seconds
        before the newest point is taken to have.
        """
        newest = max((point.time_ns for point in self.points), default=0)
        return ReceivedMetrics(
            tuple(
                point
                for point in self.points
                if point.start_ns or newest - point.time_ns <= silence * 1e9
            )
        )

    def matching(self, metric: str, where: Attributes | None = None) -> list[Point]:
        """Points of a metric whose attributes have these values; `None` is an absent one's."""
        wanted = (where or {}).items()
        return [
            point
            for point in self.points
            if point.metric == metric
            and all(point.attributes.get(name) == value for name, value in wanted)
        ]

    def total(self, metric: str, where: Attributes | None = None) -> float:
        """The sum of a counter's or gauge's points; 0 where there are none."""
        values = (point.value for point in self.matching(metric, where))
        return sum(value for value in values if not isinstance(value, Histogram))

    def histogram(self, metric: str, where: Attributes | None = None) -> Histogram:
        """The sum of a histogram's points, with a count of 0 where there are none."""
        values = (point.value for point in self.matching(metric, where))
        return sum((value for value in values if isinstance(value, Histogram)), Histogram())

    def values(
        self, metric: str, *attributes: str, where: Attributes | None = None
    ) -> list[tuple[Any, ...]]:
        """The combinations of these attributes' values that a metric's points have, sorted."""
        combinations = (
            tuple(point.attributes.get(name) for name in attributes)
            for point in self.matching(metric, where)
        )
        # By their text: what senders may send, dicts for instance, can't all be hashed.
        found = {str(combination): combination for combination in combinations}
        return [found[text] for text in sorted(found)]

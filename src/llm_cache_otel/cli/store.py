"""What a receiver keeps: bounded, thread-safe, and knowing nothing of how it is shown."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable

from llm_cache_otel.cli.received import Point, ReceivedMetrics, ReceivedSpan

MOST_SPANS = 10_000
MOST_SERIES = 10_000


class TelemetryStore:
    """The newest 10,000 spans, and the newest state of the 10,000 series last heard of."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._spans: deque[ReceivedSpan] = deque(maxlen=MOST_SPANS)
        self._series: OrderedDict[Hashable, Point] = OrderedDict()

    def add_spans(self, spans: Iterable[ReceivedSpan]) -> None:
        with self._changed:
            self._spans.extend(spans)
            self._changed.notify_all()

    def add_points(self, points: Iterable[Point]) -> None:
        with self._changed:
            for point in points:
                earlier = self._series.pop(point.series, None)
                self._series[point.series] = point if earlier is None else point.after(earlier)
                if len(self._series) > MOST_SERIES:
                    self._series.popitem(last=False)
            self._changed.notify_all()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """In the order they arrived in, which is about that of their ends."""
        with self._changed:
            return list(self._spans)

    def metrics(self) -> ReceivedMetrics:
        with self._changed:
            return ReceivedMetrics(tuple(self._series.values()))

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Whether `condition()` came to hold within `timeout` seconds.

        It is asked at once and again whenever something has arrived.
        """
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout))

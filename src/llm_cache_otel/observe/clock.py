"""When things happen."""

from __future__ import annotations

import time

from llm_cache_otel.facts import Interval


class Clock:
    """Nanoseconds since the Unix epoch that never step back: wall time read once, then monotonic.

    `offset` is what a reading of `time.perf_counter_ns` lacks to be such a time, by default as of now.
    """

    __slots__ = ("offset",)

    def __init__(self, offset: int | None = None) -> None:
        self.offset = time.time_ns() - time.perf_counter_ns() if offset is None else offset

    def now(self) -> int:
        return self.offset + time.perf_counter_ns()

    def at(self, perf_counter_ns: int) -> int:
        """The epoch time of an earlier reading of `time.perf_counter_ns`."""
        return self.offset + perf_counter_ns

    def between(self, start: int, end: int) -> Interval:
        """From one such reading to another."""
        return Interval(self.offset + start, self.offset + end)

    def of_process(self, interval: Interval) -> Interval:
        """In readings of `time.perf_counter_ns`, for what other calls did to be before or after."""
        return Interval(interval.start_ns - self.offset, interval.end_ns - self.offset)

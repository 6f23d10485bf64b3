"""Adds up what is counted in one go, for the SDK to be told of it once: each `add` takes its time."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Meter

Labels = dict[str, "str | int | float | bool"]


class Tally:
    """Of one counter, by labels. Not thread-safe."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._sums: dict[tuple[object, ...], tuple[float, Labels]] = {}

    def add(self, amount: float, labels: Labels) -> None:
        key = *labels, *labels.values()
        before, _ = self._sums.get(key, (0, labels))
        self._sums[key] = before + amount, labels

    def pass_on(self) -> None:
        """Without a context, and so without an exemplar: it is of many calls."""
        sums, self._sums = self._sums, {}
        for amount, labels in sums.values():
            self._counter.add(amount, labels, Context())


class Tallies:
    """Of the counters of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._made: list[Tally] = []

    def counter(self, name: str, unit: str, description: str) -> Tally:
        tally = Tally(self._meter.create_counter(name, unit, description))
        self._made.append(tally)
        return tally

    def pass_on(self) -> None:
        for tally in self._made:
            tally.pass_on()

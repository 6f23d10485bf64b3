"""Adds up what is counted in one go, for the SDK to be told of it once: each `add` takes its time."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Meter

_MOST = 1_024
"""Labels that are kept: where calls come faster than they are told of, no batch ends."""

LabelValue = str | int | float | bool


class Labels(dict[str, LabelValue]):
    """A metric's attributes, which are never changed: most calls have the very ones of another."""

    __slots__ = ("_others",)

    _others: dict[tuple[str, LabelValue | None], Labels]

    def but(self, name: str, value: LabelValue | None) -> Labels:
        """The same with `value` for one name, or without it; the same object each time, so of few values."""
        try:
            return self._others[name, value]
        except AttributeError:
            self._others = {}
        except KeyError:
            pass
        other = Labels(self)
        if value is None:
            other.pop(name, None)
        else:
            other[name] = value
        self._others[name, value] = other
        return other


class Tally:
    """Of one counter, by labels. Not thread-safe."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._sums: dict[int, tuple[float, Labels]] = {}

    def add(self, amount: float, labels: Labels) -> None:
        noted = self._sums.get(id(labels))
        if noted is None and len(self._sums) >= _MOST:
            self.pass_on()
        self._sums[id(labels)] = (amount if noted is None else noted[0] + amount), labels

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

"""From rounds to figures: each against the bare client's of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.names import BARE, OURS

Pair = Mapping[str, "Pairs"]
"""What is a contender's `own`, and what is `bare` Instructor's in the same rounds."""

Pairs = Sequence[Sequence[float]]
"""Of each round the microseconds that a call took: wall and CPU."""

WALL, CPU = 0, 1


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles around it."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Added:
    """What watching adds to a call at one point: in microseconds, and as a share of the same bare call."""

    at: int | str
    bare: float
    added: Spread
    share: Spread


@dataclass(frozen=True)
class Curve:
    dimension: str
    case: str
    wall: Sequence[Added]
    cpu: Sequence[Added]


def spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


def ratio(pair: Pair, which: int) -> Spread:
    both = zip(pair["own"], pair["bare"], strict=True)
    return spread([mine[which] / its[which] for mine, its in both])


def added(pair: Pair, which: int) -> Spread:
    both = zip(pair["own"], pair["bare"], strict=True)
    return spread([mine[which] - its[which] for mine, its in both])


def curves(points: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """One for each dimension and case, in the order of measuring."""
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for point in points:
        by_place.setdefault((point["dimension"], point["case"]), []).append(point)
    return [
        Curve(
            dimension,
            case,
            [_added(one, WALL) for one in these],
            [_added(one, CPU) for one in these],
        )
        for (dimension, case), these in by_place.items()
    ]


def _added(point: Mapping[str, Any], which: int) -> Added:
    pairs = [
        (mine[which], its[which]) for mine, its in zip(point["own"], point["bare"], strict=True)
    ]
    return Added(
        at=point["at"],
        bare=statistics.median(bare for _, bare in pairs),
        added=added(point, which),
        share=spread([(mine - bare) / bare for mine, bare in pairs]),
    )


@dataclass(frozen=True)
class Held:
    """Memory of the watched process over the bare one's, in MB, after so many calls."""

    calls: int
    over_bare: float
    bare: float
    ours: float
    wall: float
    """What watching added to a call since the sample before, in µs."""
    cpu: float


def held(memory: Mapping[str, Any]) -> list[Held]:
    bare, ours = memory["samples"][BARE], memory["samples"][OURS]
    return [
        Held(
            calls=its["calls"],
            over_bare=(mine["bytes"] - its["bytes"]) / 1e6,
            bare=its["bytes"] / 1e6,
            ours=mine["bytes"] / 1e6,
            wall=mine["wall"] - its["wall"],
            cpu=mine["cpu"] - its["cpu"],
        )
        for mine, its in zip(ours, bare, strict=True)
    ]

"""From rounds to ratios: each round against the baseline's round of the same turn and case."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from bench.race import CASES, COST, OUTAGES, Round

BASELINES = {COST[0], OUTAGES[0]}


@dataclass(frozen=True)
class Ratio:
    """The median over all turns, and the quartiles around it."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Line:
    """One contender in one case; times are medians in microseconds per call."""

    case: str
    contender: str
    wall: Ratio
    cpu: Ratio
    wall_us: float
    cpu_us: float


def summarize(rounds: Iterable[Round]) -> list[Line]:
    by_place = {(one.heat, one.turn, one.case, one.contender): one for one in rounds}
    turns = dict.fromkeys((heat, turn) for heat, turn, _, _ in by_place)
    contenders = sorted({contender for *_, contender in by_place}, key=(*COST, *OUTAGES).index)

    def line(case: str, contender: str) -> Line:
        own = [by_place[*turn, case, contender] for turn in turns]
        base = [by_place[*turn, case, contenders[0]] for turn in turns]
        return Line(
            case,
            contender,
            wall=_ratio([mine.wall / its.wall for mine, its in zip(own, base, strict=True)]),
            cpu=_ratio([mine.cpu / its.cpu for mine, its in zip(own, base, strict=True)]),
            wall_us=statistics.median(one.wall for one in own) * 1e6,
            cpu_us=statistics.median(one.cpu for one in own) * 1e6,
        )

    return [line(case, contender) for case in CASES for contender in contenders]


def _ratio(ratios: list[float]) -> Ratio:
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, lower, upper)

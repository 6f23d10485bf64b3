"""What was saved, as tables; the same for the terminal and the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench import targets
from bench.figures import CPU, WALL, Added, Curve, Spread, added, curves, held, ratio, spread
from bench.names import (
    BARE,
    COST,
    FLOOR,
    OURS,
    OUTAGES,
    UNSAMPLED,
    WRAPPED,
    WRAPPED_UNSAMPLED,
)

_NOTES = {
    "cost": "Medians of each round's ratio to bare Instructor in the same process, in brackets the "
    "quartiles; what is added, in µs, likewise. Of the wall it is what the median call waits: what a thread "
    "does later is in the CPU only, and in the next table. `bare` is measured against itself: its distance "
    "from 1 is the error. ✓ and ✗ say whether a target is met that was set beforehand, the wall's first. A "
    "miss's provider answers at once, from within the process. "
    "OpenLLMetry, genai-openai and cachelens see no hits. Instructor refuses the client that cachelens wraps "
    "(`ClientError`: it is no `OpenAI`), so only its `chat.completions.create` is put in place; it encodes "
    "nothing before the program ends.",
    "loop": "As above, but of hundreds of calls in a row, until all that is to be said of them is encoded: "
    "nothing is left for a pause that never comes, so that the wall is that of the CPU.",
    "scale": "What watching adds to a call: ours less bare, of the same round, and its share of that bare "
    "call; in brackets the most at a point in between. The change is what is added at the far end, as a "
    "multiple of the near end: flat from two thirds to 1.5; beyond that within the error, if the quartiles "
    "of the ends overlap; lost in noise where an end is below 0. Many tasks' calls take their turn together, "
    "which lasts as long as our thread waits before it tells of them: its work is in their wall time then, "
    "and in the CPU of all. So it is with many threads. To "
    "tell why a call missed, all of its prompt is read: that grows with its size. What is hit is as if "
    "another process had stored it: what it took is read out of the entry and priced when it is first hit, "
    "and again where more than 8,192 others have been hit since.",
    "imports": "In fresh interpreters, everything compiled. `import instructor` gets most of Instructor only "
    "when a client is made; whoever comes first pays for "
    "it. `instrument` is the first call of it, which brings the rest of ours; the exporters as well "
    "where it is given no provider.",
    "outages": "Each against bare Instructor in the same process.",
}
_FLOORS = {
    FLOOR: "`the SDK alone` is bare Instructor, and after each call the same spans and metrics as ours, made "
    "with the SDK at once.",
    WRAPPED: "`wrappers, the SDK on a thread` is the floor of whoever is to see as much: Instructor's "
    "functions are wrapped as little as can tell of which call each is and when it ran, without a guard; "
    "what was asked for and found is noted; of a miss the messages and the reported usage are copied, and "
    "nothing is read; a thread makes the same spans and metrics with the SDK once a second. Unsampled, a hit "
    "has no place in the trace there.",
}
_OURS_AND_FLOOR = (
    ("a hit", "hit", OURS, WRAPPED),
    ("an unsampled hit", "hit", UNSAMPLED, WRAPPED_UNSAMPLED),
    ("a miss", "miss", OURS, WRAPPED),
)
_BASES = {
    "plain": "`import instructor`, the OpenTelemetry SDK",
    "client": "the same, `openai`, `instructor.from_openai` and its cache",
    "own": "the same, and no provider is given to `instrument`",
}


@dataclass(frozen=True)
class Table:
    part: str
    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int  # so many columns are text
    note: str = ""


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Of each part that was measured, in this order."""
    makers = {
        "cost": _cost,
        "loop": _loop,
        "outages": _outages,
        "scale": _scale,
        "imports": _imports,
        "memory": _memory,
    }
    return [
        table for part, make in makers.items() if part in result for table in make(result[part])
    ]


def _cost(part: Mapping[str, Any]) -> list[Table]:
    rounds = part["rounds"]
    table = _race("cost", "What a call of create costs", rounds)
    floors = [what for name, what in _FLOORS.items() if name in rounds["hit"]]
    return [replace(table, note=" ".join([table.note, *floors, _beyond_the_floor(rounds)]))]


def _beyond_the_floor(rounds: Mapping[str, Any]) -> str:
    """What is ours, and neither the SDK's nor for seeing at all."""
    beyond = []
    for what, case, ours, floor in _OURS_AND_FLOOR:
        wall, cpu = (
            ratio(rounds[case][ours], which).median - ratio(rounds[case][floor], which).median
            for which in (WALL, CPU)
        )
        beyond.append(f"of {what}'s wall {wall:.1%}, of its CPU {cpu:.1%}")
    return f"Beyond this floor ours adds, {'; '.join(beyond)}."


def _loop(part: Mapping[str, Any]) -> list[Table]:
    return [_race("loop", "What it costs a program that never pauses", part["rounds"])]


def _outages(part: Mapping[str, Any]) -> list[Table]:
    title = "What a call costs while the Collector is in trouble"
    return [_race("outages", title, part["rounds"])]


def _race(part: str, title: str, rounds: Mapping[str, Any]) -> Table:
    rows = []
    for case, contenders in rounds.items():
        for name in sorted(contenders, key=_place):
            pair = contenders[name]
            wall, cpu = (ratio(pair, which) for which in (WALL, CPU))
            row = [case, name, _ratio(wall), _ratio(cpu)]
            if part == "cost":
                row.append(_target(name, case, wall, cpu))
            more = (added(pair, which).median for which in (WALL, CPU))
            rows.append([*row, *(f"{one:+,.0f}" for one in more)])
    headings = ["case", "a Collector that" if part == "outages" else "contender"]
    headings += ["wall / bare", "CPU / bare"]
    headings += ["targets: wall, CPU"] if part == "cost" else []
    return Table(part, title, [*headings, "wall µs added", "CPU µs added"], rows, 2, _NOTES[part])


def _place(name: str) -> int:
    """Heats run in shuffled order."""
    return (*COST, *OUTAGES).index(name)


def _target(name: str, case: str, wall: Spread, cpu: Spread) -> str:
    most_wall, most_cpu = targets.CALL.get((name, case), (None, None))
    found = ((wall, most_wall), (cpu, most_cpu))
    return ", ".join(targets.met(round(one.median, 3), most) for one, most in found if most)


def _scale(part: Mapping[str, Any]) -> list[Table]:
    found = curves(part["points"])
    skipped = "".join(f" {name} is missing: {why}." for name, why in part["skipped"].items())
    summary = Table(
        "scale",
        "How what watching adds changes with scale",
        (
            *("dimension", "case", "from", "to"),
            *("wall µs added", "of the call", "change"),
            *("CPU µs added", "of the call", "change"),
        ),
        [_change(curve) for curve in found],
        4,
        _NOTES["scale"] + skipped,
    )
    every = Table(
        "scale points",
        "Every point of the scaling curves",
        ("dimension", "case", "at", "bare µs", "wall µs added", "of the call", "CPU µs added"),
        [
            [
                curve.dimension,
                curve.case,
                _number(wall.at),
                f"{wall.bare:,.0f}",
                _spread(wall.added),
                f"{wall.share.median:.1%}",
                _spread(cpu.added),
            ]
            for curve in found
            for wall, cpu in zip(curve.wall, curve.cpu, strict=True)
        ],
        3,
    )
    return [summary, every]


def _change(curve: Curve) -> list[str]:
    row = [curve.dimension, curve.case, *(_number(curve.wall[end].at) for end in (0, -1))]
    for these in (curve.wall, curve.cpu):
        first, last = these[0], these[-1]
        most = max(these, key=lambda one: one.added.median)
        between = (
            "" if most in (first, last) else f" ({_number(most.at)}: {most.added.median:,.0f})"
        )
        row.append(f"{first.added.median:,.0f} → {last.added.median:,.0f}{between}")
        row.append(f"{first.share.median:.0%} → {last.share.median:.0%}")
        row.append("" if isinstance(first.at, str) else growth(first, last))
    return row


def growth(first: Added, last: Added) -> str:
    """Whether what is added at the one end differs from what it is at the other, by more than chance."""
    overlap = first.added.lower <= last.added.upper and last.added.lower <= first.added.upper
    if first.added.median <= 0 or last.added.median <= 0:
        return "lost in noise"
    times = last.added.median / first.added.median
    if 1 / 1.5 <= times <= 1.5:
        return f"{times:.2f}, flat"
    if overlap:
        return f"{times:.2f}, within the error"
    return f"{times:.2f}, {'grows' if times > 1 else 'falls'}"


def _imports(part: Mapping[str, Any]) -> list[Table]:
    rows = []
    for name, what in _BASES.items():
        taken = part["taken"][name]
        base, ours, instrument = (spread(taken[one]) for one in ("base", "ours", "instrument"))
        told = targets.met(round(ours.median, 1), targets.IMPORT_MS)
        prices = "yes" if any(taken["prices"]) else "no"
        share = f"{ours.median / base.median:.0%}"
        rows.append([what, _ms(base), _ms(ours), share, told, prices, _ms(instrument)])
    headings = ["imported before", "that, ms", "ours, ms", "share", "target"]
    headings += ["loads prices", "`instrument`, ms"]
    return [Table("imports", "What importing costs", headings, rows, 1, _NOTES["imports"])]


def _memory(part: Mapping[str, Any]) -> list[Table]:
    found = held(part["taken"])
    kind, keys = part["taken"]["begin"][BARE]["kind"], part["taken"]["keys"]
    begin = part["taken"]["begin"]
    base = (begin[BARE]["bytes"] - begin[BARE]["without_opentelemetry"]) / 1e6
    last = found[-1]
    settled = next(one for one in found if one.calls >= 2 * keys)
    highest = max(found, key=lambda one: one.over_bare)
    usually = median(one.over_bare for one in found if one.calls >= settled.calls)
    rows = [
        [
            f"{one.calls:,}",
            f"{one.bare:,.1f}",
            f"{one.ours:,.1f}",
            f"{one.over_bare:.1f}",
            f"{one.wall:,.0f}",
            f"{one.cpu:,.0f}",
        ]
        for one in found
    ]
    headings = ("calls", "bare MB", "ours MB", "over bare MB", "wall µs added", "CPU µs added")
    note = (
        f"Of the first {keys:,} calls each has a prompt of its own and misses; all others hit. "
        f"At the end {last.over_bare:.1f} MB over bare "
        f"({targets.met(round(last.over_bare, 1), targets.MEMORY_MB)}), at most {highest.over_bare:.1f} MB, "
        f"after {highest.calls:,} calls; from call {settled.calls:,} on {usually:.1f} MB in the median. "
        f"Meanwhile ours went from {settled.ours:,.0f} to {last.ours:,.0f} MB, bare from "
        f"{settled.bare:,.0f} to {last.bare:,.0f}. "
        f"The memory is {kind}. "
        f"Bare has imported the OpenTelemetry SDK and what encodes OTLP as well, {base:.1f} MB that are not "
        "counted as ours, and both have the cache's entries."
    )
    title = f"Memory after up to {last.calls:,} calls"
    return [Table("memory", title, headings, rows, 0, note)]


def _ratio(one: Spread) -> str:
    return f"{one.median:.3f} ({one.lower:.3f}–{one.upper:.3f})"  # noqa: RUF001  a range


def _spread(one: Spread) -> str:
    return f"{one.median:,.0f} ({one.lower:,.0f} to {one.upper:,.0f})"


def _ms(one: Spread) -> str:
    return f"{one.median:,.1f} ({one.lower:,.1f}–{one.upper:,.1f})"  # noqa: RUF001  a range


def _number(at: int | str) -> str:
    return at if isinstance(at, str) else f"{at:,}"

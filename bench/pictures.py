"""The scaling curves and the memory, drawn from the saved result; the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, PercentFormatter

from bench.figures import Added, Curve, curves, held
from bench.result import PATH

_STYLE = {
    "svg.hashsalt": "llm-cache-otel",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.edgecolor": "#7b8794",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_COLOURS = {"hit": "#1f6feb", "miss": "#d9480f"}
_LABELS = {
    "keys": "distinct keys in the cache",
    "misses before": "distinct keys missed before",
    "prompt bytes": "size of the prompt",
    "threads": "threads",
    "async tasks": "async tasks",
    "clients of a cache": "clients sharing a cache",
    "store": "where entries are",
}
_COLUMNS = 4


def draw(result: Mapping[str, Any]) -> None:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type,unused-ignore]
        if "scale" in result:
            _draw_scale(curves(result["scale"]["points"]))
        if "memory" in result:
            _draw_memory(result["memory"]["taken"])


def _draw_scale(found: Sequence[Curve]) -> None:
    """Of each dimension two panels, one above the other: microseconds, and the share of the call."""
    dimensions = list(dict.fromkeys(curve.dimension for curve in found))
    bands = -(-len(dimensions) // _COLUMNS)
    figure, grid = plt.subplots(
        bands * 2, _COLUMNS, figsize=(3.5 * _COLUMNS, 5.2 * bands), squeeze=False
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for number, dimension in enumerate(dimensions):
        band, column = divmod(number, _COLUMNS)
        above, below = grid[band * 2][column], grid[band * 2 + 1][column]
        for curve in (one for one in found if one.dimension == dimension):
            _draw_curve(above, below, curve)
        above.set_title(_LABELS[dimension])
        below.set_xlabel(_LABELS[dimension])
        below.yaxis.set_major_formatter(PercentFormatter(1))
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for axes in (above, below):
            axes.set_visible(True)
            _from_zero(axes)
        if dimension == "prompt bytes":  # hits and misses lie far apart
            above.set_yscale("symlog", linthresh=1_000)
            above.set_yticks([0, 500, 1_000, 10_000], ["0", "500", "1,000", "10,000"])
        if column == 0:
            above.set_ylabel("added per call, µs")
            below.set_ylabel("added, share of the bare call")
        above.legend(frameon=False, fontsize=8, loc="best")
    figure.suptitle(
        "What watching adds to a call (median of all rounds; band or bar: quartiles)",
        x=0.01,
        ha="left",
        fontsize=13,
    )
    _save(figure, "scale.svg")


def _draw_curve(above: Any, below: Any, curve: Curve) -> None:
    colour = _COLOURS[curve.case]
    for axes, value in ((above, _added), (below, _share)):
        for these, what, line in ((curve.wall, "wall", "-"), (curve.cpu, "CPU", "--")):
            median, lower, upper = zip(*map(value, these), strict=True)
            label = f"{curve.case}, {what}"
            at: Any = [one.at for one in these]
            if isinstance(at[0], str):
                marker = "o" if what == "wall" else "s"
                offset = [n + (-0.08 if what == "wall" else 0.08) for n in range(len(at))]
                errors = [
                    [m - low for m, low in zip(median, lower, strict=True)],
                    [high - m for m, high in zip(median, upper, strict=True)],
                ]
                style = {"color": colour, "fmt": marker, "markersize": 5, "capsize": 3}
                face = colour if what == "wall" else "white"
                axes.errorbar(offset, median, errors, label=label, markerfacecolor=face, **style)
                axes.set_xticks(range(len(at)), at)
                axes.set_xlim(-0.5, len(at) - 0.5)
                continue
            axes.plot(at, median, line, color=colour, marker="o", markersize=3.5, label=label)
            if what == "wall":
                axes.fill_between(at, lower, upper, color=colour, alpha=0.15, linewidth=0)
            _log_x(axes, at, bytes_=curve.dimension == "prompt bytes")


def _added(one: Added) -> tuple[float, float, float]:
    return one.added.median, one.added.lower, one.added.upper


def _share(one: Added) -> tuple[float, float, float]:
    return one.share.median, one.share.lower, one.share.upper


def _log_x(axes: Any, at: Sequence[int], *, bytes_: bool) -> None:
    axes.set_xscale("log")
    axes.set_xticks(at, [_short(one, bytes_=bytes_) for one in at])
    axes.set_xticks([], minor=True)


def _short(number: int, *, bytes_: bool = False) -> str:
    unit = "B" if bytes_ else ""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{' ' if bytes_ else ''}{letter.upper() if bytes_ else letter}{unit}"
    return f"{number}{unit}"


def _from_zero(axes: Any) -> None:
    """So that what is flat looks flat."""
    lower, upper = axes.get_ylim()
    axes.set_ylim(min(lower, 0), max(upper, 0) * 1.1)


def _draw_memory(taken: Mapping[str, Any]) -> None:
    found = held(taken)
    calls = [one.calls for one in found]
    figure, (whole, over, time) = plt.subplots(1, 3, figsize=(14, 4))
    whole.plot(calls, [one.ours for one in found], color="#1f6feb", label="watched")
    whole.plot(calls, [one.bare for one in found], "--", color="#52606d", label="bare")
    whole.legend(frameon=False, loc="lower right")
    whole.set_title("memory of the process")
    whole.set_ylabel("MB")
    over.plot(calls, [one.over_bare for one in found], color="#1f6feb", marker="o", markersize=3)
    over.axhline(20, color="#d9480f", linewidth=1, linestyle=":")
    over.set_title("watched, over bare")
    over.set_ylabel("MB")
    cpu, wall = [one.cpu for one in found], [one.wall for one in found]
    time.plot(calls, cpu, color="#1f6feb", marker="o", markersize=3, label="CPU")
    time.plot(calls, wall, "--", color="#7b8794", linewidth=1, label="wall, both at the same time")
    time.set_title("added per call, meanwhile")
    time.set_ylabel("µs")
    time.legend(frameon=False)
    for axes in (whole, over, time):
        axes.set_xlabel(f"calls ({taken['keys']:,} distinct keys, each missed once)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(int(value))))
        _from_zero(axes)
        axes.axvspan(0, taken["keys"], color="#e4e7eb", alpha=0.5, linewidth=0)
    _save(figure, "memory.svg")


def _save(figure: Any, name: str) -> None:
    figure.tight_layout()
    figure.savefig(PATH.with_name(name), metadata={"Date": None})
    plt.close(figure)

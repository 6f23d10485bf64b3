"""The display of `llm-cache-otel watch`: numbers above, the latest traces below."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from llm_cache_otel.cli.money import net_savings
from llm_cache_otel.cli.received import ReceivedSpan
from llm_cache_otel.cli.store import MOST_SPANS
from llm_cache_otel.cli.trees import trace_trees
from llm_cache_otel.cli.views import hit_rate, metrics_view
from llm_cache_otel.cli.watched import Watched
from llm_cache_otel.cli.wording import counted, dollars, listed, plain

_LINES_OF_TRACES = 8
"""What the numbers leave to the traces at the least: a heading and a miss."""

_LINES_OF_TRACES_PRINTED = 16

_SHORTEST_SERVICES = 12
"""Columns: in fewer, names of services that are cut off say nothing."""

_SOONER = "OTEL_METRIC_EXPORT_INTERVAL=5000 has them come every 5 s."

_GAP = 2

_Lines = list[list[Segment]]


class Display:
    """As much as `height` lines have room for; without a height, all numbers and a few traces."""

    def __init__(
        self, watched: Watched, ages: tuple[str, str], *, height: int | None = None
    ) -> None:
        self._watched = watched
        self._ages = ages
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = _lines(console, options, *self._head(options.max_width))
        numbers = _lines(console, options, metrics_view(self._watched.metrics, caption=None), "")
        room = _LINES_OF_TRACES_PRINTED
        if self._height is not None:
            most = max(0, self._height - len(head) - _LINES_OF_TRACES)
            numbers = _cut(numbers, most, "… more in a taller terminal", console, options)
            room = max(0, self._height - len(head) - len(numbers) - 1)
        heading = _lines(console, options, self._heading())
        traces = self._traces(console, options, room) if room else []
        for line in [*head, *numbers, *heading, *traces][: self._height]:
            yield from line
            yield Segment.line()

    def _head(self, width: int) -> list[RenderableType]:
        """The hit rate and what that is worth; beside and below it, what it is made of."""
        rate = Text.assemble("hit rate  ", (hit_rate(self._watched.metrics) or "none yet", "bold"))
        net = net_savings(self._watched.metrics)
        if net is not None:
            rate.append("   saved  ").append(dollars(net), "bold")
        processes = counted(self._watched.processes, "process", "processes")
        room = width - rate.cell_len - _GAP - cell_len("   ".join((processes, *self._ages)))
        processes += self._services(room if room >= 0 else room + rate.cell_len + _GAP)
        arrivals = Text("   ".join((processes, *self._ages)), style="dim")
        row: RenderableType = Group(rate, arrivals)
        if room >= 0:
            row = Table.grid(expand=True, padding=(0, _GAP, 0, 0))
            row.add_column()
            row.add_column(justify="right")
            row.add_row(rate, arrivals)
        if not self._watched.processes_without_metrics:
            return [row, ""]
        which = counted(self._watched.processes_without_metrics, "process is", "processes are")
        spans = "spans" if self._watched.spans_are_all else f"the newest {MOST_SPANS:,} spans"
        from_spans = f"Until metrics come, {which} counted from {spans}; sampling may hide some."
        return [row, Text(f"{from_spans} {_SOONER}", style="dim"), ""]

    def _services(self, room: int) -> str:
        """Whose the processes are, in as many columns as there is room."""
        if not self._watched.services or room < _SHORTEST_SERVICES:
            return ""
        services = Text(plain(f" of {listed(self._watched.services)}"))
        services.truncate(room, overflow="ellipsis")
        return services.plain

    def _heading(self) -> RenderableType:
        others = self._watched.other_spans
        title = Text("Latest traces", style="bold")
        if others:
            note = f"  without {counted(others, 'span', 'spans')} of traces that are not ours"
            title.append(note, "not bold dim")
        return Rule(title, align="left", style="dim")

    def _traces(self, console: Console, options: ConsoleOptions, room: int) -> _Lines:
        """Whole trees, newest first; one that has no room at all is cut off."""
        chosen: list[list[ReceivedSpan]] = []
        left = room
        for trace in self._watched.traces:
            if chosen and len(trace) > left:
                break
            chosen.append(trace[-room - 1 :])  # one too many, to be cut off and told of
            left -= len(trace)
        lines: _Lines = []
        shown = 0
        for tree in trace_trees(chosen, one_line=self._height is not None):
            more = _lines(console, options, tree)
            if lines and len(lines) + len(more) > room:
                break
            lines += more
            shown += 1
        lines = _cut(lines, room, "… more of this trace", console, options)
        earlier = len(self._watched.traces) - shown
        if earlier and self._height is None:  # a screen that is full says so itself
            note = f"… and {counted(earlier, 'earlier trace', 'earlier traces')}"
            lines += _lines(console, options, Text(note, style="dim"))
        return lines


def _lines(console: Console, options: ConsoleOptions, *renderables: RenderableType) -> _Lines:
    return [
        line
        for renderable in renderables
        for line in console.render_lines(renderable, options, pad=False)
    ]


def _cut(lines: _Lines, most: int, note: str, console: Console, options: ConsoleOptions) -> _Lines:
    if len(lines) <= most:
        return lines
    kept = lines[: max(0, most - 1)]
    while kept and not any(segment.text.strip() for segment in kept[-1]):
        kept.pop()
    return [*kept, *_lines(console, options, Text(note, style="dim"))][:most]

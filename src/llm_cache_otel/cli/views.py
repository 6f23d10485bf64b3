"""What was received, as people read it. Nothing is shown that is not in what is handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from llm_cache_otel.cli.received import Attributes, Histogram, ReceivedMetrics, ReceivedSpan
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome

_STYLES: Mapping[Any, str] = {
    Outcome.HIT.value: "green",
    Outcome.MISS.value: "yellow",
    Outcome.ERROR.value: "red",
}
_GUIDE = 4
"""Columns that a `Tree` takes for each level."""

_SHOWN = (
    *(names.OUTCOME, names.REASON, names.HIT, names.BYPASS_PART, names.BACKEND, names.NAME),
    *(names.KEY_DURATION, names.ENTRY_SIZE, names.TTL, names.ATTEMPTS, names.SAVED_DURATION),
    *(names.GEN_AI_PROVIDER_NAME, names.GEN_AI_RESPONSE_MODEL, names.PARSE_ERROR_TYPE),
    names.ERROR_TYPE,
)

_PARTS: Sequence[tuple[str, Sequence[str]]] = (
    (names.BACKEND_DURATION, (names.BACKEND, names.NAME, names.OPERATION)),
    (names.GEN_AI_OPERATION_DURATION, (names.GEN_AI_OPERATION_NAME, names.GEN_AI_REQUEST_MODEL)),
)
"""What a request's time goes into, and by what it is told apart."""

_Children = Mapping[str | None, Sequence[ReceivedSpan]]


def duration(seconds: float | None) -> str:
    """In the unit that fits: `84.2 µs`, `33.1 ms`, `5.62 s`; empty for `None`, which is unknown."""
    if seconds is None:
        return ""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.9995 else f"{seconds:,.2f} s"


def trace_view(spans: Sequence[ReceivedSpan]) -> RenderableType:
    """The spans of one trace as a tree, in the order they began in, with durations.

    A span whose parent was not received stands at the top.
    """
    received = {span.span_id for span in spans}
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        parent = span.parent_span_id if span.parent_span_id in received else None
        children.setdefault(parent, []).append(span)
    width = max(_widths(None, children, 0), default=0)
    return Group(*_branches(None, children, width))


def _widths(parent: str | None, children: _Children, level: int) -> Iterator[int]:
    for span in children.get(parent, ()):
        yield cell_len(span.name) + level * _GUIDE
        yield from _widths(span.span_id, children, level + 1)


def _branches(parent: str | None, children: _Children, width: int) -> Iterator[Tree]:
    for span in children.get(parent, ()):
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=width, no_wrap=True)
        row.add_column(width=9, justify="right", no_wrap=True)
        row.add_column()
        name = Text(span.name, style="red" if span.is_error else "")
        said_below = children.get(span.span_id, ())
        row.add_row(name, duration(span.seconds), _attributes(span, said_below))
        tree = Tree(row, guide_style="dim")
        tree.children.extend(_branches(span.span_id, children, width - _GUIDE))
        yield tree


def _attributes(span: ReceivedSpan, said_below: Sequence[ReceivedSpan]) -> Text:
    """The few that matter and no child repeats, without the prefixes that they have in common."""
    parts: list[Text] = []
    for name in _SHOWN:
        value = span.attributes.get(name)
        if value is None or any(child.attributes.get(name) == value for child in said_below):
            continue
        label = name.removeprefix("llm_cache.").removeprefix("gen_ai.")
        style = "red" if name == names.ERROR_TYPE else _STYLES.get(value, "")
        parts.append(Text.assemble((f"{label}=", "dim"), (_written(name, value), style)))
    return Text("  ").join(parts)


def _written(name: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if name in (names.KEY_DURATION, names.SAVED_DURATION):
            return duration(value).replace(" ", "")  # a line is broken at any space
        case int() if name == names.ENTRY_SIZE:
            return f"{value:,}B"
        case _:
            return str(value)


def metrics_view(metrics: ReceivedMetrics) -> RenderableType:
    """Requests by cache and outcome, how long each part of them took, and totals."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        caption="p50 and p95 are estimated from histogram buckets",
        caption_justify="right",
    )
    table.add_column("")
    for column in ("count", "hit rate", "average", "p50 ≈", "p95 ≈"):
        table.add_column(column, justify="right", no_wrap=True)
    for cache in metrics.values(names.REQUESTS, names.BACKEND, names.NAME):
        _add_cache(table, metrics, *cache)
    table.add_row("all requests", f"{metrics.total(names.REQUESTS):,}", _hit_rate(metrics, {}))
    table.add_section()
    for label, histogram in _parts(metrics):
        table.add_row(label, f"{histogram.count:,}", "", *_spread(histogram))
    return Group(table, "", _totals(metrics))


def _add_cache(
    table: Table, metrics: ReceivedMetrics, backend: str | None, name: str | None
) -> None:
    cache = {names.BACKEND: backend, names.NAME: name}
    label = _label(backend or "no cache", name)
    hit_rate = _hit_rate(metrics, cache)
    for outcome in Outcome:
        where = {**cache, names.OUTCOME: outcome.value}
        if not metrics.matching(names.REQUESTS, where):
            continue
        table.add_row(
            Text.assemble(label, "  ", (outcome.value, _STYLES.get(outcome.value, ""))),
            f"{metrics.total(names.REQUESTS, where):,}",
            hit_rate if outcome in (Outcome.HIT, Outcome.MISS) else "",
            *_spread(metrics.histogram(names.REQUEST_DURATION, where)),
        )
        hit_rate = ""
        for (reason,) in metrics.values(names.REQUESTS, names.REASON, where=where):
            if reason is not None:
                count = metrics.total(names.REQUESTS, {**where, names.REASON: reason})
                table.add_row(Text(f"  {reason}", style="dim"), Text(f"{count:,}", style="dim"))


def _hit_rate(metrics: ReceivedMetrics, where: Attributes) -> str:
    """Of sums, never an average of rates; empty where no request could have hit."""
    hits, misses = (
        metrics.total(names.REQUESTS, {**where, names.OUTCOME: outcome.value})
        for outcome in (Outcome.HIT, Outcome.MISS)
    )
    return f"{hits / (hits + misses):.1%}" if hits + misses else ""


def _parts(metrics: ReceivedMetrics) -> Iterator[tuple[Text, Histogram]]:
    if metrics.matching(names.KEY_DURATION):
        yield Text("cache key"), metrics.histogram(names.KEY_DURATION)
    for metric, by in _PARTS:
        for values in metrics.values(metric, *by):
            where: Attributes = dict(zip(by, values, strict=True))
            yield _label(*values), metrics.histogram(metric, where)


def _label(*parts: str | None) -> Text:
    """What is there of the parts; a name that a user gave is not to be read as markup."""
    return Text(" ".join(filter(None, parts)))


def _spread(histogram: Histogram) -> tuple[str, str, str]:
    return (
        duration(histogram.average),
        duration(histogram.quantile(0.5)),
        duration(histogram.quantile(0.95)),
    )


def _totals(metrics: ReceivedMetrics) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    if metrics.matching(names.SAVED_DURATION):
        table.add_row("time saved by hits", duration(metrics.total(names.SAVED_DURATION)))
    for values in metrics.values(names.CAPACITY, names.BACKEND, names.NAME):
        where: Attributes = dict(zip((names.BACKEND, names.NAME), values, strict=True))
        entries, capacity = (
            metrics.total(metric, where) for metric in (names.ENTRIES, names.CAPACITY)
        )
        table.add_row(_label(*values, "entries"), f"{entries:,} of at most {capacity:,}")
    for (error_type,) in metrics.values(names.REQUESTS, names.ERROR_TYPE):
        if error_type is not None:
            failed = metrics.total(names.REQUESTS, {names.ERROR_TYPE: error_type})
            table.add_row("requests failed", Text(f"{failed:,}  {error_type}", style="red"))
    errors = metrics.total(names.INSTRUMENTATION_ERRORS)
    if errors:
        table.add_row("errors of llm-cache-otel itself", Text(f"{errors:,}", style="red"))
    return table

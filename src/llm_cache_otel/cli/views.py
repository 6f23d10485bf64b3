"""What was received, as people read it. Nothing is shown that is not in what is handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from llm_cache_otel.cli.money import money_rows
from llm_cache_otel.cli.received import Attributes, Histogram, ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.trees import OUTCOME_STYLES, trace_trees
from llm_cache_otel.cli.wording import duration, plain
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome, PromptOutcome

ESTIMATED = "p50 and p95 are estimated from histogram buckets"

_PARTS: Sequence[tuple[str, Sequence[str]]] = (
    (names.BACKEND_DURATION, (names.BACKEND, names.NAME, names.OPERATION)),
    (names.GEN_AI_OPERATION_DURATION, (names.GEN_AI_OPERATION_NAME, names.GEN_AI_REQUEST_MODEL)),
)
"""What a request's time goes into, and by what it is told apart."""


def trace_view(spans: Sequence[ReceivedSpan]) -> RenderableType:
    """The spans of one trace as a tree."""
    return trace_trees([spans])[0]


def metrics_view(metrics: ReceivedMetrics, caption: str | None = ESTIMATED) -> RenderableType:
    """What either cache did, how long each part of the requests took, and totals."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        caption=caption,
        caption_justify="right",
    )
    table.add_column("")
    for column in ("count", "hit rate", "average", "p50 ≈", "p95 ≈"):
        table.add_column(column, justify="right", no_wrap=True)
    for cache in metrics.values(names.REQUESTS, names.BACKEND, names.NAME):
        _add_cache(table, metrics, *cache)
    table.add_row("all requests", f"{metrics.total(names.REQUESTS):,}", hit_rate(metrics))
    table.add_section()
    if metrics.matching(names.PROMPT_REQUESTS):
        _add_prompt_caches(table, metrics)
        table.add_section()
    for label, histogram in _parts(metrics):
        table.add_row(label, f"{histogram.count:,}", "", *_spread(histogram))
    return Group(table, "", _totals(metrics))


def _add_cache(
    table: Table, metrics: ReceivedMetrics, backend: str | None, name: str | None
) -> None:
    cache = {names.BACKEND: backend, names.NAME: name}
    label = _label(backend or "no cache", name)
    rate = hit_rate(metrics, cache)
    for outcome in Outcome:
        where = {**cache, names.OUTCOME: outcome.value}
        if not metrics.matching(names.REQUESTS, where):
            continue
        table.add_row(
            Text.assemble(label, "  ", (outcome.value, OUTCOME_STYLES.get(outcome.value, ""))),
            f"{metrics.total(names.REQUESTS, where):,}",
            rate if outcome in (Outcome.HIT, Outcome.MISS) else "",
            *_spread(metrics.histogram(names.REQUEST_DURATION, where)),
        )
        rate = ""
        _add_reasons(table, by_reason(metrics, names.REQUESTS, names.REASON, where))


def _add_prompt_caches(table: Table, metrics: ReceivedMetrics) -> None:
    for outcome in PromptOutcome:
        where: Attributes = {names.PROMPT_OUTCOME: outcome.value}
        if not metrics.matching(names.PROMPT_REQUESTS, where):
            continue
        table.add_row(
            Text.assemble("prompt cache  ", (outcome.value, OUTCOME_STYLES.get(outcome.value, ""))),
            f"{metrics.total(names.PROMPT_REQUESTS, where):,}",
        )
        _add_reasons(table, by_reason(metrics, names.PROMPT_REQUESTS, names.PROMPT_REASON, where))


def _add_reasons(table: Table, counts: Mapping[str, float]) -> None:
    for reason, count in counts.items():
        table.add_row(Text(f"  {reason}", style="dim"), Text(f"{count:,}", style="dim"))


def by_reason(
    metrics: ReceivedMetrics, metric: str, attribute: str, where: Attributes
) -> Mapping[str, float]:
    """A counter's totals by reason, the largest first; without what has none."""
    counts = {
        plain(reason): metrics.total(metric, {**where, attribute: reason})
        for (reason,) in metrics.values(metric, attribute, where=where)
        if reason is not None
    }
    return dict(sorted(counts.items(), key=lambda counted: -counted[1]))


def hit_rate(metrics: ReceivedMetrics, where: Attributes | None = None) -> str:
    """Of sums, never an average of rates; empty where no request could have hit."""
    hits, misses = (
        metrics.total(names.REQUESTS, {**(where or {}), names.OUTCOME: outcome.value})
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
    return Text(" ".join(plain(part) for part in parts if part))


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
    for label, value in money_rows(metrics):
        table.add_row(label, value)
    for values in metrics.values(names.CAPACITY, names.BACKEND, names.NAME):
        where: Attributes = dict(zip((names.BACKEND, names.NAME), values, strict=True))
        entries, capacity = (
            metrics.total(metric, where) for metric in (names.ENTRIES, names.CAPACITY)
        )
        table.add_row(_label(*values, "entries"), f"{entries:,} of at most {capacity:,}")
    for (error_type,) in metrics.values(names.REQUESTS, names.ERROR_TYPE):
        if error_type is not None:
            failed = metrics.total(names.REQUESTS, {names.ERROR_TYPE: error_type})
            table.add_row("requests failed", Text(f"{failed:,}  {plain(error_type)}", style="red"))
    errors = metrics.total(names.INSTRUMENTATION_ERRORS)
    if errors:
        table.add_row("errors of llm-cache-otel itself", Text(f"{errors:,}", style="red"))
    return table

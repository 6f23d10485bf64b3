"""Everything that the demo says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from llm_cache_otel.cli.demo_stages import StageFailed
from llm_cache_otel.cli.demo_why import (
    Advice,
    Explanation,
    received_view,
    sent_view,
    without_troubles,
)
from llm_cache_otel.cli.demo_worker import NOT_DELIVERED
from llm_cache_otel.cli.destination import SERVICE_NAME, Destination
from llm_cache_otel.cli.received import ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.views import metrics_view, trace_view
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome

_MOST_ERROR_LINES = 10
_SPANS_OF_MISS = 4  # create, its lookup, one attempt and its store
_SPANS_OF_HIT = 2  # create and its lookup, but in memory
_WHY = "Why calls missed"
_IN_PROMETHEUS = f"{names.REQUESTS.replace('.', '_')}_total"


@dataclass(frozen=True)
class Done:
    """What was done, as those who did it counted: the processes and the provider, not telemetry.

    `calls` were made, `requests` reached the provider, and `retries` of these were made because an
    answer could not be used. `tokens` are what the provider would charge for, as its `Ledger` has them.
    `advice` is what was logged.
    """

    calls: int
    requests: int
    retries: int
    tokens: Mapping[str, int]
    advice: Advice


@dataclass(frozen=True)
class Check:
    """A number from those who did it beside the one that was received."""

    what: str
    done: float
    received: float


def checks_of(done: Done, metrics: ReceivedMetrics) -> list[Check]:
    hits = metrics.total(names.REQUESTS, {names.OUTCOME: Outcome.HIT.value})
    attempts = metrics.histogram(names.GEN_AI_OPERATION_DURATION).count
    plain, read = done.tokens["plain"], done.tokens["read"]
    never_sent = done.calls - (done.requests - done.retries)
    return [
        Check("calls", done.calls, metrics.total(names.REQUESTS)),
        Check("provider requests, second attempts too", done.requests, attempts),
        Check("calls that needed none: hits", never_sent, hits),
        Check("input tokens", read + plain, metrics.total(names.GEN_AI_INPUT_TOKENS)),
        Check(
            "of these read from the provider's prompt cache",
            read,
            metrics.total(names.GEN_AI_CACHE_READ_TOKENS),
        ),
        Check("output tokens", done.tokens["output"], metrics.total(names.GEN_AI_OUTPUT_TOKENS)),
    ]


def agree(checks: Sequence[Check]) -> bool:
    return all(check.done == check.received for check in checks)


def introduce(console: Console, destination: Destination | None) -> None:
    where = "a local receiver" if destination is None else escape(destination.endpoints)
    console.print(
        "[bold]Cached Instructor calls of a simulated provider[/], with telemetry over OTLP to "
        f"{where}."
    )
    console.print()


def show_received(
    console: Console,
    spans: Sequence[ReceivedSpan],
    metrics: ReceivedMetrics,
    explained: Sequence[Explanation],
) -> None:
    """A miss and the hit that it led to, metrics, and why the calls of the troubles missed."""
    console.print()
    pair = miss_and_hit(spans)
    if pair is None:
        console.print("[bold red]No whole trace of a miss and of its hit was received.[/]")
    else:
        _section(console, "A miss", trace_view(pair[0]))
        _section(console, "The same request again, a hit", trace_view(pair[1]))
    _section(
        console, "All calls of the first three processes", metrics_view(without_troubles(metrics))
    )
    _section(console, _WHY, received_view(explained))
    for each in explained:
        if not each.is_as_staged:
            console.print(
                f"[bold red]What was received and logged does not tell that this was the cause:[/] "
                f"{each.trouble.title}."
            )


def miss_and_hit(
    spans: Sequence[ReceivedSpan],
) -> tuple[Sequence[ReceivedSpan], Sequence[ReceivedSpan]] | None:
    """The newest two whole traces of a hit and of the plain miss that stored its entry."""
    traces: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    misses: dict[str, list[ReceivedSpan]] = {}
    found = None
    for span in spans:
        trace, digest = traces[span.trace_id], span.attributes.get(names.KEY_DIGEST, "")
        match span.attributes.get(names.OUTCOME):
            case Outcome.MISS if len(trace) == _SPANS_OF_MISS:
                misses[digest] = trace
            case Outcome.HIT if _is_whole_hit(span, trace) and digest in misses:
                found = misses[digest], trace
            case _:
                pass
    return found


def _is_whole_hit(create: ReceivedSpan, trace: Sequence[ReceivedSpan]) -> bool:
    is_in_memory = create.attributes.get(names.BACKEND) == "memory"
    return len(trace) == (1 if is_in_memory else _SPANS_OF_HIT)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("done", justify="right")
    table.add_column("received", justify="right")
    for check in checks:
        style = "" if check.done == check.received else "bold red"
        table.add_row(check.what, f"{check.done:,}", f"{check.received:,}", style=style)
    _section(console, "What was done, and what was received of it", table)
    for check in checks:
        if check.done != check.received:
            console.print(
                f"[bold red]What was received is not what was done.[/] {check.what}: "
                f"{check.done:,} done, {check.received:,} received."
            )


def show_where_to_look(console: Console, destination: Destination, advice: Advice) -> None:
    """What was sent to the user's own endpoints, and how to find it there."""
    console.print()
    table = Table.grid(padding=(0, 2, 0, 0))
    for signal, endpoint, what in (
        ("traces", destination.traces, f"{names.OUTCOME} = {Outcome.MISS.value}"),
        ("metrics", destination.metrics, f"{names.REQUESTS}, in Prometheus {_IN_PROMETHEUS}"),
    ):
        found = escape(endpoint) if endpoint else "not sent, as your OTEL_* variables have it"
        table.add_row(signal, found, what if endpoint else "")
    _section(console, f"Sent, with service.name = {SERVICE_NAME}. What to look for:", table)
    _section(console, f"{_WHY}, and what to look for", sent_view(advice))


def show_failure(console: Console, failure: StageFailed, destination: Destination | None) -> None:
    """Why a process failed, in its own words."""
    console.print()
    if failure.exit_code == NOT_DELIVERED and destination is not None:
        console.print(
            f"[bold red]Not everything could be sent to {escape(destination.endpoints)}.[/] Does a "
            "collector listen there, and for OTEL_EXPORTER_OTLP_PROTOCOL (unless set, grpc)?"
        )
    else:
        console.print(
            f"[bold red]A process of the demo failed with exit code {failure.exit_code}.[/]"
        )
    for line in failure.errors.splitlines()[-_MOST_ERROR_LINES:]:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def show_one_line(console: Console) -> None:
    console.print("In a program of your own it is one line:")
    console.print()
    console.print("    client = [bold]llm_cache_otel.instrument(client)[/]")
    console.print()
    console.print("Or none at all: opentelemetry-instrument python app.py")
    console.print()
    console.print(
        "Telemetry then goes to the OpenTelemetry providers that the program has set up, or else "
        "to OTEL_EXPORTER_OTLP_ENDPOINT."
    )


def _section(console: Console, title: str, content: RenderableType) -> None:
    console.rule(f"[bold]{title}[/]", align="left", style="dim")
    console.print()
    console.print(Padding(content, (0, 0, 1, 2), expand=False))

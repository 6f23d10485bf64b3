"""Why the calls of the demo's troubles missed: as it was received, and as it was logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_cache_otel.cli.demo_troubles import TROUBLES, Trouble
from llm_cache_otel.cli.received import ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.views import by_reason
from llm_cache_otel.cli.wording import listed, plain
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome

_INSTANCE = "service.instance.id"
_NOTHING = "nothing received"
_WIDEST_LABEL = len("prompt cache")

Advice = Mapping[str, Sequence[str]]
"""What was logged, by the trouble's title."""


@dataclass(frozen=True)
class Explanation:
    """What was received of a trouble, as `Trouble` has it, and all that was logged."""

    trouble: Trouble
    misses: Mapping[str, float]
    unread: Mapping[str, float]
    places: frozenset[tuple[object, object]]
    advice: Sequence[str]

    @property
    def is_as_staged(self) -> bool:
        trouble = self.trouble
        return (
            self.misses == trouble.misses
            and (not trouble.unread or self.unread == trouble.unread)
            and self.places == ({trouble.place} if trouble.place else set())
            and len(self.advice) == len(trouble.advice)
            and all(gist in text for gist, text in zip(trouble.advice, self.advice, strict=True))
        )


def explanations(
    spans: Sequence[ReceivedSpan], metrics: ReceivedMetrics, advice: Advice
) -> list[Explanation]:
    return [
        Explanation(
            trouble,
            _reasons(metrics, trouble, names.REQUESTS, names.REASON, Outcome.MISS),
            _reasons(metrics, trouble, names.PROMPT_REQUESTS, names.PROMPT_REASON),
            frozenset(_places(spans, trouble)),
            advice.get(trouble.title, ()),
        )
        for trouble in TROUBLES
    ]


def _reasons(
    metrics: ReceivedMetrics,
    trouble: Trouble,
    metric: str,
    attribute: str,
    outcome: Outcome | None = None,
) -> Mapping[str, float]:
    of_outcome = {} if outcome is None else {names.OUTCOME: outcome.value}
    return by_reason(metrics, metric, attribute, {names.NAME: trouble.name, **of_outcome})


def _places(spans: Sequence[ReceivedSpan], trouble: Trouble) -> Iterator[tuple[object, object]]:
    """The message and about the character where prompts differ from earlier ones, for either cache."""
    traces = {span.trace_id for span in spans if span.attributes.get(names.NAME) == trouble.name}
    for span in spans:
        if span.trace_id in traces and names.DIVERGENCE_PART in span.attributes:
            message = span.attributes.get(names.DIVERGENCE_MESSAGE)
            yield message, span.attributes.get(names.DIVERGENCE_OFFSET)


def without_troubles(metrics: ReceivedMetrics) -> ReceivedMetrics:
    """What the other processes sent: caches that are of no use tell nothing of those that are."""
    of_troubles = {trouble.name for trouble in TROUBLES}
    processes = {
        point.resource.get(_INSTANCE)
        for point in metrics.points
        if point.attributes.get(names.NAME) in of_troubles
    }
    others = (point for point in metrics.points if point.resource.get(_INSTANCE) not in processes)
    return ReceivedMetrics(tuple(others))


def received_view(explained: Sequence[Explanation]) -> RenderableType:
    """What was received of each trouble, and the advice."""
    return _view((each.trouble, _received_rows(each), each.advice) for each in explained)


def sent_view(advice: Advice) -> RenderableType:
    """What to look for of each trouble where the telemetry went, and the advice."""
    return _view(
        (trouble, _rows_to_look_for(trouble), advice.get(trouble.title, ())) for trouble in TROUBLES
    )


def _received_rows(explained: Explanation) -> Iterator[tuple[str, str]]:
    yield "misses", _counts(explained.misses)
    if explained.trouble.unread:
        yield "prompt cache", _counts(explained.unread)
    if explained.places or explained.trouble.place:
        places = [
            f"message {plain(message)}, around character {plain(offset)}"
            for message, offset in sorted(explained.places, key=str)
        ]
        yield "what differs", listed(places) or _NOTHING


def _counts(reasons: Mapping[str, float]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or _NOTHING


def _rows_to_look_for(trouble: Trouble) -> Iterator[tuple[str, str]]:
    yield "misses", f"{names.NAME} = {trouble.name}, {names.REASON} = {next(iter(trouble.misses))}"
    if trouble.unread:
        yield "prompt cache", f"{names.PROMPT_REASON} = {next(iter(trouble.unread))}"


def _view(
    parts: Iterator[tuple[Trouble, Iterator[tuple[str, str]], Sequence[str]]],
) -> RenderableType:
    lines: list[RenderableType] = []
    for trouble, rows, advice in parts:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", width=_WIDEST_LABEL, no_wrap=True)
        table.add_column()
        for label, text in rows:
            table.add_row(label, Text(text))
        for text in advice or ("none was logged",):
            table.add_row("advice", Text(plain(text)))
        lines += [
            *([""] if lines else []),
            Text(trouble.title, "bold"),
            Padding(table, (0, 0, 0, 2)),
        ]
    return Group(*lines)

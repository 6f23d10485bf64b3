"""What concerns llm-cache-otel of all that a receiver has received."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from llm_cache_otel.cli.doctor.telemetry import METRIC as DOCTOR_METRIC
from llm_cache_otel.cli.doctor.telemetry import SPAN as DOCTOR_SPAN
from llm_cache_otel.cli.received import (
    Attributes,
    Histogram,
    Point,
    ReceivedMetrics,
    ReceivedSpan,
)
from llm_cache_otel.cli.store import MOST_SPANS
from llm_cache_otel.emit import names
from llm_cache_otel.facts import Outcome

_INSTANCE = "service.instance.id"
_SERVICE = "service.name"

_BY = {
    names.REQUESTS: (names.OUTCOME, names.REASON, names.BACKEND, names.NAME, names.ERROR_TYPE),
    names.REQUEST_DURATION: (names.OUTCOME, names.BACKEND, names.NAME),
    names.KEY_DURATION: (),
    names.SAVED_DURATION: (),
    names.GEN_AI_OPERATION_DURATION: (names.GEN_AI_OPERATION_NAME, names.GEN_AI_REQUEST_MODEL),
    names.SAVED_COST: (),
    names.SPENT_COST: (),
    names.WRITE_PREMIUM_COST: (),
    names.GEN_AI_INPUT_TOKENS: (),
    names.GEN_AI_CACHE_READ_TOKENS: (),
    names.PROMPT_REQUESTS: (names.PROMPT_OUTCOME, names.PROMPT_REASON),
}
"""The metrics that spans have the measurements of as well, and the attributes to tell by."""

_COUNTERS = (
    *(names.REQUESTS, names.PROMPT_REQUESTS, names.SAVED_DURATION),
    *(names.SAVED_COST, names.SPENT_COST, names.WRITE_PREMIUM_COST),
    *(names.GEN_AI_INPUT_TOKENS, names.GEN_AI_CACHE_READ_TOKENS),
)
_TOKENS = {
    names.GEN_AI_USAGE_INPUT: names.GEN_AI_INPUT_TOKENS,
    names.GEN_AI_USAGE_CACHE_READ: names.GEN_AI_CACHE_READ_TOKENS,
}


class Watched:
    """The numbers, and the traces that have a span of ours, with all their spans.

    A process exports spans sooner than metrics. Until its metrics come its spans are counted, and
    no longer, because a sampler may have left some out. The doctor's tests are of no process that
    is watched: that they came is known, and nothing else is made of them.
    """

    def __init__(self, spans: Sequence[ReceivedSpan], metrics: ReceivedMetrics) -> None:
        self.spans_are_all = len(spans) < MOST_SPANS
        received = len(spans) + len(metrics.points)
        spans = [span for span in spans if not _is_of_doctor(span.scope, span.name)]
        series = [point for point in metrics.points if not _is_of_doctor(point.scope, point.metric)]
        self.doctor_came = len(spans) + len(series) < received

        ours = [span for span in spans if span.scope == names.SCOPE]
        points = tuple(point for point in series if point.scope == names.SCOPE)
        self.newest_span = ours[-1] if ours else None
        self.newest_point = points[-1] if points else None
        with_metrics, with_spans = _processes(points), _processes(ours)
        uncounted = [
            span
            for span in ours
            if not with_metrics
            # Without an id, these and the metrics of another resource may be of one process.
            or (_INSTANCE in span.resource and _process(span.resource) not in with_metrics)
        ]
        self.processes = len(with_metrics | with_spans)
        self.processes_without_metrics = len(_processes(uncounted))
        resources = *_resources(ours), *_resources(points)
        self.services = sorted({str(of[_SERVICE]) for of in resources if of.get(_SERVICE)})
        current = ReceivedMetrics(points).without_ended()
        self.metrics = ReceivedMetrics((*current.points, *_points(uncounted)))

        trace_ids = {span.trace_id for span in ours}
        self.traces = _traces(span for span in spans if span.trace_id in trace_ids)
        self.other_spans = len(spans) - sum(map(len, self.traces))
        self.other_series = len(series) - len(points)


def _is_of_doctor(scope: str, name: str) -> bool:
    return scope == names.SCOPE and name in (DOCTOR_SPAN, DOCTOR_METRIC)


def _traces(spans: Iterable[ReceivedSpan]) -> list[list[ReceivedSpan]]:
    """The one that was heard of last comes first."""
    traces: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        trace = traces.pop(span.trace_id, [])
        trace.append(span)
        traces[span.trace_id] = trace  # the last one again
    return list(reversed(traces.values()))


def _resources(sent: Sequence[Point] | Sequence[ReceivedSpan]) -> Iterable[Attributes]:
    # What came in one message shares one resource.
    return {id(one.resource): one.resource for one in sent}.values()


def _processes(sent: Sequence[Point] | Sequence[ReceivedSpan]) -> set[str]:
    return {_process(resource) for resource in _resources(sent)}


def _process(resource: Attributes) -> str:
    return str(resource.get(_INSTANCE) or sorted(resource.items()))


def _points(spans: Sequence[ReceivedSpan]) -> Iterator[Point]:
    """What metrics would be if they counted these spans, as far as spans tell."""
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    attributes: dict[str, Attributes] = {}
    for span in spans:
        for metric, value in _measurements(span):
            by = {name: span.attributes[name] for name in _BY[metric] if name in span.attributes}
            if metric == names.SAVED_COST:
                is_hit = span.attributes[names.OUTCOME] == Outcome.HIT.value
                by = {names.LAYER: "response" if is_hit else "prompt"}
            attributes[str(by)] = by
            measured[metric, str(by)].append(value)
    for (metric, by_text), values in measured.items():
        yield Point(
            metric=metric,
            unit="",
            attributes=attributes[by_text],
            resource={},
            scope=names.SCOPE,
            start_ns=0,
            time_ns=0,
            value=sum(values) if metric in _COUNTERS else _histogram(values),
        )


def _measurements(span: ReceivedSpan) -> Iterator[tuple[str, float]]:
    # Of an inference, or of the call where another instrumentation's span tells the inference.
    if names.PROMPT_OUTCOME in span.attributes:
        yield names.PROMPT_REQUESTS, 1
    if names.OUTCOME in span.attributes:
        yield names.REQUESTS, 1
        yield names.REQUEST_DURATION, span.seconds
        same = (names.KEY_DURATION, names.SAVED_DURATION)
        for name in (*same, names.SAVED_COST, names.SPENT_COST, names.WRITE_PREMIUM_COST):
            value = span.attributes.get(name)
            if isinstance(value, float):
                yield name, value
    elif names.GEN_AI_OPERATION_NAME in span.attributes:
        yield names.GEN_AI_OPERATION_DURATION, span.seconds
        for attribute, metric in _TOKENS.items():
            value = span.attributes.get(attribute)
            if isinstance(value, int):
                yield metric, value


def _histogram(values: Sequence[float]) -> Histogram:
    """With a bucket of its own for every value: nothing is estimated."""
    buckets = Counter((value, value) for value in values)
    return Histogram(len(values), sum(values), buckets, min(values), max(values))

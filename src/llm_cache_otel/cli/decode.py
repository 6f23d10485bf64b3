"""OTLP's protobuf messages, decoded. https://opentelemetry.io/docs/specs/otlp/"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from llm_cache_otel.cli.received import Attributes, Histogram, Point, ReceivedSpan

_KINDS = {number: name for name, number in Span.SpanKind.items()}

_Buckets = Iterable[tuple[tuple[float, float], int]]


def spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _span(span, resource, of_scope.scope.name)


def _span(span: Span, resource: Attributes, scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=_KINDS.get(span.kind, str(span.kind)).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        scope=scope,
        is_error=span.status.code == Status.STATUS_CODE_ERROR,
        status_description=span.status.message,
        events=tuple(event.name for event in span.events),
        links=tuple(link.span_id.hex() for link in span.links),
    )


def points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    """The points of sums, gauges and histograms of either kind; summaries no SDK makes."""
    for of_resource in request.resource_metrics:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield from _points(metric, resource, of_scope.scope.name)


def _points(metric: Metric, resource: Attributes, scope: str) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    if kind is None or kind == "summary":
        return
    data = getattr(metric, kind)
    temporality = getattr(data, "aggregation_temporality", None)
    for point in data.data_points:
        try:
            value = _measured(point)
        except OverflowError:  # a scale that no sender has; the rest of the message is good
            continue
        yield Point(
            metric=metric.name,
            unit=metric.unit,
            attributes=_attributes(point.attributes),
            resource=resource,
            scope=scope,
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            value=value,
            is_delta=temporality == AGGREGATION_TEMPORALITY_DELTA,
        )


def _measured(
    point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint,
) -> float | Histogram:
    if isinstance(point, NumberDataPoint):
        return point.as_int if point.HasField("as_int") else point.as_double
    buckets = _explicit(point) if isinstance(point, HistogramDataPoint) else _exponential(point)
    return Histogram(
        count=point.count,
        sum=point.sum,
        buckets=dict(buckets),
        least=point.min if point.HasField("min") else None,
        most=point.max if point.HasField("max") else None,
    )


def _explicit(point: HistogramDataPoint) -> _Buckets:
    bounds = [-math.inf, *point.explicit_bounds, math.inf]
    return zip(itertools.pairwise(bounds), point.bucket_counts, strict=False)


def _exponential(point: ExponentialHistogramDataPoint) -> _Buckets:
    base = 2.0 ** (2.0**-point.scale)
    yield (0.0, 0.0), point.zero_count
    for sign, half in ((1, point.positive), (-1, point.negative)):
        for index, count in enumerate(half.bucket_counts, start=half.offset):
            lower, upper = sorted((sign * base**index, sign * base ** (index + 1)))
            yield (lower, upper), count


def _attributes(pairs: Sequence[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return tuple(_value(part) for part in value.array_value.values)
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case _:
            return getattr(value, kind)

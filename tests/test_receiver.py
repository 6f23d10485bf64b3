"""The receiver, driven by the SDK's own exporters."""

from __future__ import annotations

import gzip
import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from llm_cache_otel.cli import decode
from llm_cache_otel.cli.received import Histogram, ReceivedSpan
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.store import MOST_SPANS, TelemetryStore
from llm_cache_otel.cli.trees import trace_trees

DELTA = {
    SdkCounter: AggregationTemporality.DELTA,
    SdkHistogram: AggregationTemporality.DELTA,
}
PROTOCOLS = ["grpc", "http", "http, gzip", "http, deflate"]


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def span_exporter(receiver: OtlpReceiver, protocol: str) -> SpanExporter:
    if protocol == "grpc":
        return grpc_traces.OTLPSpanExporter(receiver.grpc_endpoint)
    return http_traces.OTLPSpanExporter(
        f"{receiver.http_endpoint}/v1/traces", compression=compression(protocol)
    )


def metric_exporter(
    receiver: OtlpReceiver, protocol: str = "grpc", **options: object
) -> MetricExporter:
    if protocol == "grpc":
        return grpc_metrics.OTLPMetricExporter(receiver.grpc_endpoint, **options)
    return http_metrics.OTLPMetricExporter(
        f"{receiver.http_endpoint}/v1/metrics", compression=compression(protocol), **options
    )


def compression(protocol: str) -> Compression:
    return Compression(protocol.removeprefix("http").removeprefix(", ") or "none")


@contextmanager
def process(exporter: MetricExporter, instance: str = "one") -> Iterator[MeterProvider]:
    """What one process counts with; it exports when it is told to, and at its end."""
    resource = Resource({"service.name": "tested", "service.instance.id": instance})
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, math.inf)], resource)
    yield provider
    provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_arrive_whole(receiver: OtlpReceiver, protocol: str) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "tested"}))
    provider.add_span_processor(SimpleSpanProcessor(span_exporter(receiver, protocol)))
    tracer = provider.get_tracer("a scope")
    with tracer.start_as_current_span("outer"):
        attributes = {"text": "a", "yes": True, "count": 2, "ratio": 0.5, "several": ("a", "b")}
        with tracer.start_as_current_span(
            "inner", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            span.add_event("happened")
            span.set_status(Status(StatusCode.ERROR, "it failed"))
    provider.shutdown()

    inner, outer = receiver.spans
    assert (outer.name, outer.kind, outer.parent_span_id) == ("outer", "INTERNAL", None)
    assert (inner.name, inner.kind, inner.parent_span_id) == ("inner", "CLIENT", outer.span_id)
    assert inner.trace_id == outer.trace_id
    assert inner.attributes == attributes
    assert (inner.is_error, inner.status_description) == (True, "it failed")
    assert not outer.is_error
    assert inner.events == ("happened",)
    assert (inner.scope, inner.resource["service.name"]) == ("a scope", "tested")
    assert outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns
    assert outer.seconds == (outer.end_ns - outer.start_ns) / 1e9


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_arrive_whole(receiver: OtlpReceiver, protocol: str) -> None:
    with process(metric_exporter(receiver, protocol)) as provider:
        meter = provider.get_meter("a scope")
        requests = meter.create_counter("requests", "{request}")
        requests.add(2, {"outcome": "hit"})
        requests.add(1, {"outcome": "miss", "reason": "expired"})
        took = meter.create_histogram("took", explicit_bucket_boundaries_advisory=[1.0, 2.0, 4.0])
        for seconds in (0.5, 1.5, 1.5, 9.0):
            took.record(seconds)
        meter.create_observable_gauge("entries", [lambda _: [Observation(7)]])

    metrics = receiver.metrics()
    assert metrics.total("requests") == 3
    assert metrics.total("requests", {"outcome": "hit"}) == 2
    assert metrics.total("requests", {"outcome": "hit", "reason": None}) == 2
    assert metrics.total("requests", {"outcome": "miss", "reason": None}) == 0
    assert metrics.values("requests", "outcome", "reason") == [("hit", None), ("miss", "expired")]
    assert metrics.total("entries") == 7
    assert metrics.matching("requests")[0].unit == "{request}"
    assert metrics.matching("nothing of the kind") == []
    histogram = metrics.histogram("took")
    assert (histogram.count, histogram.sum, histogram.average) == (4, 12.5, 3.125)
    assert (histogram.least, histogram.most) == (0.5, 9.0)
    assert histogram.buckets == {(-math.inf, 1): 1, (1, 2): 2, (2, 4): 0, (4, math.inf): 1}


def test_processes_are_added_up_and_their_exports_are_not(receiver: OtlpReceiver) -> None:
    counts = Counter({"one": 2, "two": 3})
    for instance, count in counts.items():
        with process(metric_exporter(receiver), instance) as provider:
            meter = provider.get_meter("a scope")
            requests, took = meter.create_counter("requests"), meter.create_histogram("took")
            for _ in range(count):
                requests.add(1)
                took.record(1.0)
                provider.force_flush()  # a cumulative counter tells of everything every time

    assert receiver.metrics().total("requests") == counts.total()
    assert receiver.metrics().histogram("took").count == counts.total()
    assert len(receiver.metrics().matching("requests")) == len(counts)


def test_a_process_that_counts_anew_is_added_to_what_it_had_counted(receiver: OtlpReceiver) -> None:
    for _ in range(2):
        with process(metric_exporter(receiver), "the same") as provider:
            provider.get_meter("a scope").create_counter("requests").add(5)
    assert receiver.metrics().total("requests") == 10


def test_deltas_are_added_up(receiver: OtlpReceiver) -> None:
    with process(metric_exporter(receiver, preferred_temporality=DELTA)) as provider:
        meter = provider.get_meter("a scope")
        requests, took = meter.create_counter("requests"), meter.create_histogram("took")
        for _ in range(3):
            requests.add(2)
            took.record(1.0)
            provider.force_flush()
    assert receiver.metrics().total("requests") == 6
    assert receiver.metrics().histogram("took").count == 3
    assert len(receiver.metrics().points) == 2


def test_exponential_histograms_are_read(receiver: OtlpReceiver) -> None:
    exponential = {SdkHistogram: ExponentialBucketHistogramAggregation()}
    with process(metric_exporter(receiver, preferred_aggregation=exponential)) as provider:
        took = provider.get_meter("a scope").create_histogram("took")
        for seconds in range(1, 101):
            took.record(seconds)
    histogram = receiver.metrics().histogram("took")
    assert histogram.count == sum(histogram.buckets.values()) == 100
    assert histogram.quantile(0.5) == pytest.approx(50, rel=0.05)
    assert histogram.quantile(0.95) == pytest.approx(95, rel=0.05)


def histogram_of(values: list[float], bounds: list[float]) -> Histogram:
    edges = list(pairwise([-math.inf, *bounds, math.inf]))
    buckets = {(low, high): sum(low < value <= high for value in values) for low, high in edges}
    return Histogram(len(values), math.fsum(values), buckets, min(values), max(values))


numbers = st.floats(0, 100)


@given(
    values=st.lists(numbers, min_size=1),
    bounds=st.lists(numbers, unique=True).map(sorted),
    fraction=st.floats(0, 1),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(
    values: list[float], bounds: list[float], fraction: float
) -> None:
    estimate = histogram_of(values, bounds).quantile(fraction)
    true = sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]
    low, high = next(edge for edge in pairwise([-math.inf, *bounds, math.inf]) if true <= edge[1])
    assert estimate is not None
    assert max(low, min(values)) <= estimate <= min(high, max(values))


def test_nothing_measured_has_no_average_and_no_quantile() -> None:
    assert (Histogram().average, Histogram().quantile(0.5)) == (None, None)
    some = histogram_of([1.0, 3.0], [2.0])
    assert Histogram() + some == some == some + Histogram()


def test_without_extremes_a_quantile_keeps_to_the_boundaries() -> None:
    unbounded = Histogram(2, 10.0, {(-math.inf, 1.0): 1, (4.0, math.inf): 1})
    assert unbounded.quantile(0.0) == 0.0
    assert unbounded.quantile(1.0) == 4.0
    assert (unbounded + histogram_of([1.0], [2.0])).least is None


def test_what_is_no_otlp_is_refused(receiver: OtlpReceiver) -> None:
    url = f"{receiver.http_endpoint}/v1/traces"
    protobuf = {"content-type": "application/x-protobuf"}
    with httpx.Client(trust_env=False) as client:
        assert (
            client.post(
                url, content=b"{}", headers={"content-type": "application/json"}
            ).status_code
            == 415
        )
        assert client.post(url, content=b"\xff", headers=protobuf).status_code == 400
        gzip = {**protobuf, "content-encoding": "gzip"}
        assert client.post(url, content=b"not gzip", headers=gzip).status_code == 400
        assert client.get(url).status_code == 405
    assert receiver.spans == []


def test_a_port_that_is_taken_is_refused(receiver: OtlpReceiver) -> None:
    for name, endpoint in (
        ("grpc_port", receiver.grpc_endpoint),
        ("http_port", receiver.http_endpoint),
    ):
        with pytest.raises(OSError):
            OtlpReceiver(**{name: int(endpoint.rsplit(":", 1)[1])})


def span(number: int) -> ReceivedSpan:
    return ReceivedSpan(str(number), "INTERNAL", "1", "1", None, 0, 0, {}, {}, "")


def test_waiting_ends_when_something_arrives() -> None:
    store = TelemetryStore()
    assert not store.wait_for(lambda: bool(store.spans), timeout=0.0)
    threading.Timer(0.01, store.add_spans, [[span(0)]]).start()
    assert store.wait_for(lambda: bool(store.spans), timeout=10.0)


def test_the_newest_spans_are_kept() -> None:
    store = TelemetryStore()
    store.add_spans(span(number) for number in range(MOST_SPANS + 1))
    assert len(store.spans) == MOST_SPANS
    assert store.spans[-1].name == str(MOST_SPANS)


def test_odd_items_do_not_cost_the_rest_of_a_message() -> None:
    traces = ExportTraceServiceRequest()
    scope_spans = traces.resource_spans.add().scope_spans.add()
    scope_spans.spans.add(name="odd", kind=99)
    scope_spans.spans.add(name="good")
    assert [(span.name, span.kind) for span in decode.spans(traces)] == [
        ("odd", "99"),
        ("good", "UNSPECIFIED"),
    ]
    metrics = ExportMetricsServiceRequest()
    scope_metrics = metrics.resource_metrics.add().scope_metrics.add()
    odd = scope_metrics.metrics.add(name="odd").exponential_histogram.data_points.add(scale=-2000)
    odd.positive.bucket_counts.append(1)
    scope_metrics.metrics.add(name="good").gauge.data_points.add(as_int=1)
    assert [point.metric for point in decode.points(metrics)] == ["good"]


def test_a_body_that_grows_without_bound_is_refused(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_cache_otel.cli.receiver._LARGEST_MESSAGE", 1000)
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    url = f"{receiver.http_endpoint}/v1/traces"
    with httpx.Client(trust_env=False) as client:
        answer = client.post(url, content=gzip.compress(bytes(100_000)), headers=headers)
    assert (answer.status_code, "too large" in answer.text) == (400, True)


A_SPAN = ReceivedSpan("x", "INTERNAL", "t", "a", None, 0, 1, {}, {}, "s")


def test_spans_that_came_twice_are_shown_once() -> None:
    twice = [replace(A_SPAN, span_id="a", parent_span_id=parent) for parent in (None, "a")]
    trace_trees([twice, [*twice, replace(A_SPAN, span_id="b", parent_span_id="b")]])

"""What arrives at a receiver that decodes the real messages is what was emitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetrics,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetrics,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.models import MESSAGES, FailingCache, User
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.received import Histogram
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider


def exporters(protocol: str, receiver: OtlpReceiver) -> tuple[Any, Any]:
    if protocol == "grpc":
        endpoint = receiver.grpc_endpoint
        return GrpcSpans(endpoint, insecure=True), GrpcMetrics(endpoint, insecure=True)
    endpoint = receiver.http_endpoint
    return HttpSpans(f"{endpoint}/v1/traces"), HttpMetrics(f"{endpoint}/v1/metrics")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_arrives_equals_what_was_emitted(
    protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    span_exporter, metric_exporter = exporters(protocol, receiver)
    resource = Resource({"service.name": "wire", "service.instance.id": "1"})
    kept = InMemorySpanExporter()
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(kept))
    tracers.add_span_processor(SimpleSpanProcessor(span_exporter))
    reader = InMemoryMetricReader()
    periodic = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    meters = MeterProvider([reader, periodic], resource=resource, shutdown_on_exit=False)

    client = make_client(provider, cache=AutoCache())
    instrument(client, name="wire", tracer_provider=tracers, meter_provider=meters)
    request: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}
    provider.cues.add(Cue(answer={}))
    for _ in range(3):
        client.create(**request)
    list(client.create_iterable(**request))
    with pytest.raises(ConnectionError):
        client.create(**request, cache=FailingCache("get"))
    client.client.close()
    assert tracers.force_flush()
    assert meters.force_flush()

    received = {span.span_id: span for span in receiver.spans}
    emitted = kept.get_finished_spans()
    assert len(received) == len(emitted) > 10
    for span in emitted:
        there = received[f"{span.context.span_id:016x}"]
        assert there.trace_id == f"{span.context.trace_id:032x}"
        assert there.parent_span_id == (f"{span.parent.span_id:016x}" if span.parent else None)
        assert (there.name, there.kind, there.scope) == (
            span.name,
            span.kind.name,
            "llm_cache_otel",
        )
        assert (there.start_ns, there.end_ns) == (span.start_time, span.end_time)
        assert dict(there.attributes) == dict(span.attributes or {})
        assert there.is_error == (span.status.status_code.name == "ERROR")
        assert there.status_description == ""
        assert there.events == ()
        assert there.resource["service.name"] == "wire"
    _same_points(reader, receiver)
    tracers.shutdown()
    meters.shutdown()


def _same_points(reader: InMemoryMetricReader, receiver: OtlpReceiver) -> None:
    data = reader.get_metrics_data()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert scope.scope.schema_url
    emitted = {}
    for metric in scope.metrics:
        for point in metric.data.data_points:
            value = getattr(point, "value", None)
            if value is None:
                value = (point.count, point.sum, tuple(point.bucket_counts))
            emitted[metric.name, metric.unit, _key(point.attributes)] = value
    received = {}
    for point in receiver.metrics().points:
        value = point.value
        if isinstance(value, Histogram):
            counts = [count for _, count in sorted(value.buckets.items())]
            value = (value.count, value.sum, tuple(counts))
        received[point.metric, point.unit, _key(point.attributes)] = value
    assert len(emitted) > 12
    assert received == emitted


def _key(attributes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(attributes.items()))

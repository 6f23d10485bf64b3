"""What the OpenTelemetry SDK itself takes for the telemetry of a call, with nobody watching.

llm-cache-otel is watched at one miss and one hit; from then on, the same spans and measurements are made
after each call of a bare client, in the plainest way there is; at once, or by a thread once a second. An
instrumentation that tells as much consumes at least that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from instructor.cache import AutoCache
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TracerProvider, set_span_in_context

from bench.workload import ask, messages
from llm_cache_otel import instrument, uninstrument

_SCOPE = "bench.floor"
_DELTA: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, Histogram), AggregationTemporality.DELTA
)


@dataclass(frozen=True)
class Told:
    """Of one call: its spans, the root first, and its metrics."""

    spans: list[ReadableSpan]
    metrics: list[Metric]


def told(make: Callable[..., Any]) -> dict[str, Told]:
    """What llm-cache-otel tells of a miss, and of the hit after it."""
    reader, exporter = InMemoryMetricReader(preferred_temporality=_DELTA), InMemorySpanExporter()
    meters, tracers = SdkMeterProvider(metric_readers=[reader]), SdkTracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    client = instrument(make(AutoCache()), tracer_provider=tracers, meter_provider=meters)

    def call() -> Told:
        ask(client, messages(0))
        tracers.force_flush()
        data: Any = reader.get_metrics_data()
        spans = sorted(exporter.get_finished_spans(), key=lambda span: span.parent is not None)
        exporter.clear()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return Told(spans, [metric for scope in scopes for metric in scope.metrics])

    of_both = {"miss": call(), "hit": call()}
    uninstrument(client)
    tracers.shutdown()
    meters.shutdown()
    return of_both


def teller(one: Told, tracers: TracerProvider, meters: MeterProvider) -> Callable[[], None]:
    """Tells the same again, each time it is called."""
    tracer, meter = tracers.get_tracer(_SCOPE), meters.get_meter(_SCOPE)
    root, *children = one.spans
    measurements = [step for metric in one.metrics for step in _measurements(metric, meter)]

    def tell() -> None:
        span = tracer.start_span(root.name, kind=root.kind, attributes=root.attributes)
        within = set_span_in_context(span)
        for child in children:
            tracer.start_span(
                child.name, within, kind=child.kind, attributes=child.attributes
            ).end()
        for record, value, attributes in measurements:
            record(value, attributes, within)
        span.end()

    return tell


class Later:
    """Does what is put, in order, once a second on a thread; at once when it is flushed."""

    def __init__(self) -> None:
        self._work: deque[Callable[[], None]] = deque()
        self._doing = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, work: Callable[[], None]) -> None:
        self._work.append(work)

    def force_flush(self, timeout_millis: int = 0) -> None:
        with self._doing:
            while self._work:
                self._work.popleft()()

    def _run(self) -> None:
        while True:
            time.sleep(1)
            self.force_flush()


def _measurements(metric: Metric, meter: Meter) -> list[tuple[Callable[..., None], Any, Any]]:
    """Gauges are none: they are asked for when metrics are collected."""
    found: list[tuple[Callable[..., None], Any, Any]] = []
    for point in metric.data.data_points:
        if isinstance(point, HistogramDataPoint):
            histogram = meter.create_histogram(
                metric.name,
                metric.unit or "",
                explicit_bucket_boundaries_advisory=list(point.explicit_bounds),
            )
            each = (histogram.record, point.sum / point.count, point.attributes)
            found += [each] * point.count
        elif isinstance(point, NumberDataPoint) and isinstance(metric.data, Sum):
            counter = meter.create_counter(metric.name, metric.unit or "")
            found.append((counter.add, point.value, point.attributes))
    return found

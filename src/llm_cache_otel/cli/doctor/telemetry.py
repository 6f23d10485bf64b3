"""The span and the metric that the doctor sends."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from llm_cache_otel._version import __version__
from llm_cache_otel.emit.pipeline.fallbacks import Signal

SCOPE = "llm_cache_otel"
SPAN = "llm-cache-otel doctor"
METRIC = "llm_cache_otel.doctor.tests"


def telemetry(signal: Signal, resource: Resource) -> Any:
    """One span, or one metric with one point, to hand to an exporter's encoder."""
    if signal == "traces":
        exporter = InMemorySpanExporter()
        tracers = TracerProvider(
            ALWAYS_ON, resource, shutdown_on_exit=False, span_limits=SpanLimits()
        )
        tracers.add_span_processor(SimpleSpanProcessor(exporter))
        tracers.get_tracer(SCOPE, __version__).start_span(SPAN).end()
        return exporter.get_finished_spans()
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    meters.get_meter(SCOPE, __version__).create_counter(METRIC, "{test}").add(1)
    return reader.get_metrics_data()

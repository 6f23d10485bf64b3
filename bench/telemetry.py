"""Exporters that do all of an OTLP exporter's work but the sending, and count what they encode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    Sum,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler


class Exported:
    """What reached the exporters of this process, and providers that lead to them.

    `spans` counts by span name, `outcomes` holds the counter of requests by outcome as it was last
    collected, `size` is in bytes.
    """

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.size = 0

    def tracer_provider(self, sampler: Sampler = ALWAYS_ON) -> TracerProvider:
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(BatchSpanProcessor(_SpanEncoder(self)))
        return provider

    def meter_provider(self) -> MeterProvider:
        return MeterProvider(metric_readers=[PeriodicExportingMetricReader(_MetricEncoder(self))])


class _SpanEncoder(SpanExporter):
    def __init__(self, exported: Exported) -> None:
        self._exported = exported

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._exported.size += len(encode_spans(spans).SerializeToString())
        self._exported.spans.update(span.name for span in spans)
        return SpanExportResult.SUCCESS


class _MetricEncoder(MetricExporter):
    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self._exported = exported

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object
    ) -> MetricExportResult:
        self._exported.size += len(encode_metrics(metrics_data).SerializeToString())
        self._exported.outcomes = _outcomes(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None: ...


def _outcomes(metrics_data: MetricsData) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    if not metrics_data.resource_metrics:
        return outcomes
    from llm_cache_otel.emit import (
        names,
    )  # not before: a process that is not watched has none of it

    for resource in metrics_data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == names.REQUESTS and isinstance(metric.data, Sum):
                    for point in metric.data.data_points:
                        outcomes[str((point.attributes or {})[names.OUTCOME])] += int(point.value)
    return outcomes

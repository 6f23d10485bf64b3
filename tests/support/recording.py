"""Records what is emitted in memory, and writes it so that two runs compare equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.rates import PriceTable
from llm_cache_otel.later import later

_INSTRUMENTS = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableGauge)
_VARIES = {
    "llm_cache.key.duration": "<seconds>",
    "llm_cache.saved.duration": "<seconds>",
    "llm_cache.key.digest": "<16 hex>",
    "server.port": "<port>",
    "gen_ai.response.id": "<id>",
    "llm_cache.entry.size": "<bytes>",  # varies with what the SDK's models dump
    # And these with what Instructor makes of a schema; that it is nothing stays.
    **dict.fromkeys(
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.client.inference.usage.input_tokens",
            "gen_ai.client.inference.usage.output_tokens",
            "llm_cache.saved.tokens.input",
            "llm_cache.saved.tokens.output",
            "llm_cache.saved.tokens",
        ),
        "<tokens>",
    ),
    **dict.fromkeys(("llm_cache.saved.cost", "llm_cache.spent.cost"), "<USD>"),
}


class Recording:
    """Providers that keep what they are given. Metrics are deltas: each `points()` drains them."""

    def __init__(self) -> None:
        # Or the first call would be told later.
        Prices({}, {}, PriceTable.BUNDLED).load()
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader(
            preferred_temporality=dict.fromkeys(_INSTRUMENTS, AggregationTemporality.DELTA)
        )
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def clear(self) -> None:
        later.wait(10)
        self.exporter.clear()
        self.reader.get_metrics_data()

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        later.wait(10)
        finished = self.exporter.get_finished_spans()
        return [span for span in finished if name is None or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        found = self.spans(name)
        assert len(found) == 1, [span.name for span in self.spans()]
        return found[0]

    def tree(self) -> list[str]:
        """One line a span, children indented below their parent in the order they began."""
        spans = sorted(self.spans(), key=lambda span: span.start_time or 0)
        known = {span.context.span_id for span in spans}
        roots = [span for span in spans if not span.parent or span.parent.span_id not in known]
        lines: list[str] = []

        def write(span: ReadableSpan, depth: int) -> None:
            indent = "  " * depth
            lines.append(f"{indent}{span.name} [{span.kind.name}, {span.status.status_code.name}]")
            lines.extend(
                f"{indent}  . {name} = {value!r}" for name, value in _steady(span.attributes or {})
            )
            assert not span.events, "nothing is ever recorded as an event"
            assert span.status.description is None
            for child in spans:
                if child.parent and child.parent.span_id == span.context.span_id:
                    assert (child.start_time or 0) >= (span.start_time or 0)
                    assert (child.end_time or 0) <= (span.end_time or 0)
                    write(child, depth + 1)

        for root in roots:
            write(root, 0)
        return lines

    def points(self, *, gauges: bool = True) -> list[str]:
        """One line a data point: name, unit, kind, attributes, and the value where it does not vary."""
        lines: list[str] = []
        for metric, point in self.raw_points():
            if not gauges and type(metric.data).__name__ == "Gauge":
                continue
            attributes = ", ".join(f"{key}={value}" for key, value in _steady(point.attributes))
            kind = type(metric.data).__name__
            value = f"count {point.count}" if kind == "Histogram" else point.value
            value = _VARIES.get(metric.name, value) if kind != "Histogram" else value
            lines.append(f"{metric.name} ({metric.unit}, {kind}) {{{attributes}}} {value}")
        return sorted(lines)

    def sums(self, name: str, by: str) -> dict[Any, float]:
        """Values of one counter, or counts of one histogram, added up by one attribute."""
        totals: dict[Any, float] = {}
        for metric, point in self.raw_points():
            if metric.name == name:
                value = point.count if hasattr(point, "count") else point.value
                label = point.attributes.get(by)
                totals[label] = totals.get(label, 0) + value
        return totals

    def raw_points(self) -> list[tuple[Any, Any]]:
        later.wait(10)
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            (metric, point)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]


def _steady(attributes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, _VARIES.get(name, value)) for name, value in sorted(attributes.items())]

"""Metrics that outlast an outage: of delta temporality, which no later collection makes up for."""

from __future__ import annotations

from collections import deque
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_exporter import FAILED, OwnExporter

_MOST = 120
"""Collections that are kept: two hours of them, where one is made every minute."""


class OwnMetricExporter(OwnExporter):
    """Keeps deltas that can't be delivered now, and delivers them first. The SDK's reader would lose them."""

    def __init__(self, exporter: Any, outages: Outages) -> None:
        super().__init__(exporter, "metrics", outages)
        self._self_kept: deque[MetricsData] = deque(maxlen=_MOST)

    def export(self, metrics_data: MetricsData, *args: Any, **kwargs: Any) -> Any:
        kept, lost = self._self_kept, False
        while kept:
            result, again = self.deliver(kept[0], *args, **kwargs)
            if again:
                self._keep(metrics_data)
                return result
            kept.popleft()
            lost |= result is FAILED["metrics"]
        result, again = self.deliver(metrics_data, *args, **kwargs)
        if again:
            self._keep(metrics_data)
        return FAILED["metrics"] if lost else result

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        # A last collection that finds nothing new exports nothing, nor what is kept.
        again = False
        while self._self_kept and not again:
            _, again = self.deliver(self._self_kept.popleft())
        super().shutdown(*args, **kwargs)

    def _keep(self, metrics_data: MetricsData) -> None:
        if any(
            getattr(metric.data, "aggregation_temporality", None) == AggregationTemporality.DELTA
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ):
            if len(self._self_kept) == _MOST:
                self._self_outages.lost(1, "collections of metrics")
            self._self_kept.append(metrics_data)

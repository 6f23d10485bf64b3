"""Deltas that outlast an outage: what could not be delivered is added to what is sent next.

The SDK would lose them, for it counts anew by then. Running totals need no such care: the next have it all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
)

from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_exporter import OwnExporter

_MOST_BESIDE = 256
"""Points of one metric that are kept side by side: exponential histograms, which are not added up here."""


class OwnMetricExporter(OwnExporter):
    """Keeps deltas that can't be delivered now: however long that lasts, about as much as one export."""

    def __init__(self, exporter: Any, outages: Outages) -> None:
        super().__init__(exporter, "metrics", outages)
        self._self_kept: MetricsData | None = None

    def export(self, metrics_data: MetricsData, *args: Any, **kwargs: Any) -> Any:
        kept, self._self_kept = self._self_kept, None
        data = metrics_data if kept is None else _data(kept, metrics_data)
        result, again = self.deliver(data, *args, **kwargs)
        self._self_kept = _deltas(data) if again else None
        return result

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        if self._self_kept is not None:
            self.deliver(self._self_kept)
        super().shutdown(*args, **kwargs)


def _deltas(data: MetricsData) -> MetricsData | None:
    """`None` where there are none, as with running totals."""
    kept = [
        replace(
            of_resource,
            scope_metrics=[
                replace(of_scope, metrics=[*filter(_is_delta, of_scope.metrics)])
                for of_scope in of_resource.scope_metrics
            ],
        )
        for of_resource in data.resource_metrics
    ]
    scopes = [of_scope for of_resource in kept for of_scope in of_resource.scope_metrics]
    return MetricsData(kept) if any(of_scope.metrics for of_scope in scopes) else None


def _is_delta(metric: Metric) -> bool:
    temporality = getattr(metric.data, "aggregation_temporality", None)
    return temporality is AggregationTemporality.DELTA


# Both are of one exporter, and so made alike.


def _data(older: MetricsData, newer: MetricsData) -> MetricsData:
    return MetricsData(_joined(older.resource_metrics, newer.resource_metrics, _resource, _scopes))


def _resource(one: Any) -> Any:
    return one.resource


def _scopes(older: Any, newer: Any) -> Any:
    scopes = _joined(older.scope_metrics, newer.scope_metrics, _scope, _metrics)
    return replace(newer, scope_metrics=scopes)


def _scope(one: Any) -> Any:
    return one.scope


def _metrics(older: Any, newer: Any) -> Any:
    return replace(newer, metrics=_joined(older.metrics, newer.metrics, _kind, _points))


def _kind(metric: Metric) -> Hashable:
    return metric.name, type(metric.data)


def _points(older: Any, newer: Any) -> Any:
    points = _joined(older.data.data_points, newer.data.data_points, _series, _sum)
    kept = points if _adds_up(points[0]) else points[-_MOST_BESIDE:]
    return replace(newer, data=replace(newer.data, data_points=kept))


def _adds_up(point: Any) -> bool:
    return isinstance(point, (NumberDataPoint, HistogramDataPoint))


def _series(point: Any) -> Hashable:
    bounds = tuple(point.explicit_bounds) if isinstance(point, HistogramDataPoint) else ()
    itself = None if _adds_up(point) else id(point)
    return frozenset(point.attributes.items()), bounds, itself


def _sum(older: Any, newer: Any) -> Any:
    since = {"start_time_unix_nano": older.start_time_unix_nano}
    if isinstance(newer, NumberDataPoint):
        return replace(newer, value=older.value + newer.value, **since)
    return replace(
        newer,
        count=older.count + newer.count,
        sum=older.sum + newer.sum,
        bucket_counts=[*map(sum, zip(older.bucket_counts, newer.bucket_counts, strict=True))],
        min=min(older.min, newer.min),
        max=max(older.max, newer.max),
        **since,
    )


def _joined(
    older: Iterable[Any],
    newer: Iterable[Any],
    key: Callable[[Any], Hashable],
    join: Callable[[Any, Any], Any],
) -> list[Any]:
    """What both have, joined; and what only one of them has."""
    left = {key(one): one for one in older}
    both = [join(left.pop(key(one)), one) if key(one) in left else one for one in newer]
    return [*left.values(), *both]

"""Which service stands out, and whether what all of them tell arrives."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from panels import queries as q
from panels.looks import THIRD, page, rows, series

SERVICE = (q.SERVICE, q.ENVIRONMENT)


def fleet() -> Dashboard:
    requests = q.increase(q.REQUESTS(), *SERVICE)
    return (
        page(
            "llm-cache-fleet",
            "fleet",
            "Which service stands out, and whether what all of them tell arrives.",
        )
        .with_panel(
            rows(
                "Services",
                {
                    "Requests": ("short", requests),
                    "Hit rate": (
                        "percentunit",
                        q.share(
                            q.increase(q.REQUESTS(q.HIT), *SERVICE),
                            q.increase(q.REQUESTS(q.LOOKED_UP), *SERVICE),
                        ),
                    ),
                    "Bypassed": (
                        "percentunit",
                        q.share(
                            q.increase(q.REQUESTS(q.BYPASS), *SERVICE),
                            q.increase(q.REQUESTS(q.CACHED), *SERVICE),
                        ),
                    ),
                    "Failed": (
                        "percentunit",
                        q.share(q.increase(q.REQUESTS(q.FAILED), *SERVICE), requests),
                    ),
                    "Spent": ("currencyUSD", q.increase(q.SPENT(), *SERVICE)),
                    "Saved": ("currencyUSD", q.increase(q.SAVED(), *SERVICE)),
                },
                dict(zip(SERVICE, ("Service", "Environment"), strict=True)),
                "In this range. One with many requests and few hits, or with bypasses, is where "
                "to look; choose it above and go to “diagnosis”.",
                by="Requests",
            )
        )
        .with_row(Row("Services"))
        .with_panel(
            series(
                "Requests",
                "reqps",
                {"{{job}}": q.recent(q.RECENT_REQUESTS(), q.SERVICE)},
                "One that ends reports no more, or has nothing to do: see the alert "
                "LLMCacheTelemetryAbsent.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Hit rate of the last hour",
                "percentunit",
                {
                    "{{job}} {{llm_cache_name}}": q.HIT_RATE(),
                    "{{job}} {{llm_cache_name}}, the day before": q.HIT_RATE_BEFORE(),
                },
                "What alerts compare: they tell of a fall by a quarter and 15 points. Absent "
                "where too few were looked up to tell.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Failed calls",
                "percentunit",
                {
                    "{{job}}": q.share(
                        q.seldom(q.REQUESTS(q.FAILED), q.SERVICE),
                        q.seldom(q.REQUESTS(), q.SERVICE),
                    )
                },
                "For whatever reason, the cache's or the provider's: see errors in “diagnosis”.",
                span=THIRD,
            )
        )
        .with_row(Row("What arrives: the Collector"))
        .with_panel(
            series(
                "Received",
                "ops",
                {
                    "spans": q.rate("otelcol_receiver_accepted_spans_total"),
                    "metric points": q.rate("otelcol_receiver_accepted_metric_points_total"),
                    "refused spans": q.rate("otelcol_receiver_refused_spans_total"),
                    "refused metric points": q.rate("otelcol_receiver_refused_metric_points_total"),
                },
                "Refused is not lost: programs send it again, as long as their own queues last. "
                "If it goes on, the Collector needs memory, or Jaeger is away.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Sent on, and not",
                "ops",
                {
                    "sent": q.rate("otelcol_exporter_sent_spans_total"),
                    "failed": q.or_zero(q.rate("otelcol_exporter_send_failed_spans_total")),
                    "did not fit": q.or_zero(q.rate("otelcol_exporter_enqueue_failed_spans_total")),
                },
                "Spans on their way to Jaeger. Failed: given up, and lost. Did not fit: the "
                "queue was full, and they were refused.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Queue",
                "percentunit",
                {
                    "{{exporter}}": "max by (exporter) (otelcol_exporter_queue_size"
                    " / otelcol_exporter_queue_capacity)"
                },
                "Waiting on disk for Jaeger. Full: what comes is refused.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Dropped metric points",
                "ops",
                {
                    "dropped": q.or_zero(
                        q.rate('otelcol_deltatocumulative_datapoints_total{error!=""}')
                    )
                },
                "Above zero, counters tell less than happened: there are more series than MAX_STREAMS, or "
                "they do not come in order. The label error of the metric says which.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Series kept",
                "short",
                {"{{job}}": "max by (job) (otelcol_deltatocumulative_streams_tracked)"},
                "One for each combination of labels, of all services. It levels off; if it does "
                "not, a label of yours has no end of values.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Scrapes",
                "short",
                {"{{job}} {{instance}}": 'up{job=~"llm-cache|otel-collector"}'},
                "Zero: Prometheus can't reach this page of the Collector, and everything above "
                "is old.",
                span=THIRD,
            )
        )
    )

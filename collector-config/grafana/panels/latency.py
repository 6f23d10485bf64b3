"""How long calls take with a hit and without, and what caching itself takes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import heatmap
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, YAxisConfig
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from panels import queries as q
from panels.looks import SOURCE, THIRD, WHOLE, number, over_time, page, series, traces

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def quantiles(buckets: str) -> dict[str, str]:
    return {name: q.quantile(share, buckets) for name, share in QUANTILES.items()}


def over_range(share: float, buckets: str) -> str:
    return f"histogram_quantile({share}, {q.increase(buckets, 'le')})"


TAKES = [
    ("A hit takes", 0.5, q.REQUEST_SECONDS(q.HIT), "Median in this range."),
    ("A miss takes", 0.5, q.REQUEST_SECONDS(q.MISS), "Median in this range."),
    (
        "The slowest hits take",
        0.99,
        q.REQUEST_SECONDS(q.HIT),
        "p99. Near to a miss: the cache's backend is slow, or entries are large.",
    ),
    (
        "A key takes",
        0.95,
        q.KEY_SECONDS(),
        (
            "p95. Every cached call pays it, hit or miss; milliseconds of it come of large "
            "prompts or schemas."
        ),
    ),
    (
        "The backend's get takes",
        0.95,
        q.BACKEND_SECONDS('llm_cache_operation="get"'),
        (
            "p95. A hit can't be quicker. In async programs the event loop waits for it "
            "where the adapter is Instructor's."
        ),
    ),
    (
        "The provider takes",
        0.5,
        q.PROVIDER_SECONDS(),
        "Median of single attempts; retries are several.",
    ),
]
"""The first row: a title, which share of calls is quicker, of which histogram, and what to conclude."""


def latency() -> Dashboard:
    board = page(
        "llm-cache-latency",
        "latency",
        "How long calls take with a hit and without, and what caching itself takes. Dots are "
        "traces.",
    )
    for title, share, buckets, conclusion in TAKES:
        board = board.with_panel(number(title, "s", over_range(share, buckets), conclusion, span=4))
    return (
        board.with_row(Row("Calls"))
        .with_panel(_heatmap())
        .with_panel(
            series(
                "Hits",
                "s",
                quantiles(q.REQUEST_SECONDS(q.HIT)),
                "Whole calls that the cache answered. Rises with the backend's get (below), or "
                "with large entries that are read back and validated.",
                exemplars=[q.REQUEST_LATEST(q.HIT)],
            )
        )
        .with_panel(
            series(
                "Misses",
                "s",
                quantiles(q.REQUEST_SECONDS(q.MISS)),
                "Whole calls, with retries and the store. Well above the provider's attempts: "
                "retries; see create's attempts in the trace.",
                exemplars=[q.REQUEST_LATEST(q.MISS)],
            )
        )
        .with_row(Row("The provider"))
        .with_panel(
            series(
                "Attempts, p95",
                "s",
                {
                    "{{gen_ai_provider_name}} {{gen_ai_request_model}}": q.quantile(
                        0.95, q.PROVIDER_SECONDS(), q.PROVIDER, q.MODEL
                    )
                },
                "Each request to a provider, to the last chunk. No filter by name: the "
                "conventions have no such label.",
                exemplars=[q.PROVIDER_LATEST()],
            )
        )
        .with_panel(
            series(
                "Attempts by error",
                "reqps",
                {"{{error_type}}": q.seldom(q.PROVIDER_COUNT(q.FAILED), "error_type")},
                "Nothing here is good. Rate limits and time-outs are what hits spare you, too.",
                stacked=True,
            )
        )
        .with_row(Row("The cache"))
        .with_panel(
            series(
                "Key",
                "s",
                quantiles(q.KEY_SECONDS()),
                "Instructor's key function; of a function over a store, what comes before the "
                "lookup. In the quick path of every hit.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Backend, p95",
                "s",
                {
                    "{{llm_cache_backend}} {{llm_cache_operation}}": q.quantile(
                        0.95, q.BACKEND_SECONDS(), q.BACKEND, "llm_cache_operation"
                    )
                },
                "Single gets and sets. Slow gets eat what hits save; slow sets come on top of "
                "misses.",
                span=THIRD,
                exemplars=[q.BACKEND_LATEST()],
            )
        )
        .with_panel(
            series(
                "Backend errors",
                "ops",
                {
                    "{{llm_cache_backend}} {{llm_cache_operation}} {{error_type}}": q.recent(
                        q.RECENT_BACKEND(q.FAILED), q.BACKEND, "llm_cache_operation", "error_type"
                    )
                },
                "Gets that raise fail the call, unless the adapter lets them return nothing; "
                "sets that raise fail a call that is paid for.",
                span=THIRD,
            )
        )
    )


def _heatmap() -> heatmap.Panel:
    return (
        heatmap.Panel()
        .title("All calls")
        .description(
            "How many took how long. Two bands, hits below and misses above; what is between "
            "them is worth a trace."
        )
        .datasource(SOURCE)
        .span(WHOLE)
        .height(9)
        .calculate(False)
        .color(HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(YAxisConfig().unit("s"))
        .with_target(
            over_time(q.in_buckets(q.REQUEST_SECONDS()), "{{le}}").format(PromQueryFormat.HEATMAP)
        )
        .with_target(traces(q.REQUEST_LATEST()))
    )

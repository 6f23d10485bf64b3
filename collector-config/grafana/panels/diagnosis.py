"""Why calls miss, are not cached at all, or read nothing from the provider's prompt cache."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, statetimeline
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import VisibilityMode

from panels import queries as q
from panels.looks import SOURCE, THIRD, over_time, page, rows, series

REASON = "llm_cache_reason"
PER_HOUR = "3600 * "
DOCS = "https://github.com/llm-cache-otel/llm-cache-otel/blob/main/docs/telemetry.md"
IN_JAEGER = (
    '/explore?schemaVersion=1&panes={"a":{"datasource":"jaeger","queries":[{"refId":"A","queryType":"search",'
    '"service":"${__data.fields.Service}","tags":"llm_cache.reason=${__data.fields.Reason}"}],'
    '"range":{"from":"${__from}","to":"${__to}"}}}'
)


def diagnosis() -> Dashboard:
    return (
        page(
            "llm-cache-diagnosis",
            "diagnosis",
            "Why calls miss, are not cached at all, or read nothing from the provider's prompt "
            "cache.",
        )
        .with_row(Row("Response cache"))
        .with_panel(
            series(
                "Misses by reason",
                "reqps",
                {"{{llm_cache_reason}}": q.recent(q.RECENT_REQUESTS(q.MISS), REASON)},
                "new_prompt is as it should be. near_duplicate_prompt: a time or an id is in the "
                "prompt. …_changed: one part of the key differs from call to "
                "call. expired, evicted, lost: the cache kept it too short. What to do about "
                "each is in the table's links.",
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Bypasses by reason",
                "reqps",
                {"{{llm_cache_reason}}": q.recent(q.RECENT_REQUESTS(q.BYPASS), REASON)},
                "A cache was given, and these calls can never hit. Should be empty: it is not a "
                "cold cache, it is a call to be changed.",
                stacked=True,
            )
        )
        .with_panel(
            rows(
                "Misses, bypasses and errors in this range",
                {
                    "Requests": (
                        "short",
                        q.increase(
                            q.REQUESTS('llm_cache_outcome=~"miss|bypass|error"'),
                            q.SERVICE,
                            q.NAME,
                            "llm_cache_outcome",
                            REASON,
                        ),
                    )
                },
                {
                    q.SERVICE: "Service",
                    q.NAME: "Name",
                    "llm_cache_outcome": "Outcome",
                    REASON: "Reason",
                },
                "The longest row that is not new_prompt first. A reason leads to what to do, a "
                "service to its traces with that reason.",
                by="Requests",
                links={
                    "Reason": ("What to do", f"{DOCS}#reasons-llm_cachereason"),
                    "Service": ("Traces with this reason", IN_JAEGER),
                },
            )
        )
        .with_panel(
            series(
                "Expired, evicted, lost",
                "reqps",
                {
                    "{{job}} {{llm_cache_name}} {{llm_cache_reason}}": q.recent(
                        q.RECENT_REQUESTS(q.MISS, f'{REASON}=~"expired|evicted|lost|not_stored"'),
                        q.SERVICE,
                        q.NAME,
                        REASON,
                    )
                },
                "Asked for before, and gone. expired: a longer TTL. evicted: a larger cache. "
                "lost: somebody clears it. not_stored: the call or its set had failed.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Fill of caches in memory",
                "percentunit",
                {
                    "{{job}} {{llm_cache_name}} {{llm_cache_backend}}": q.share(
                        f"max by ({q.SERVICE}, {q.NAME}, {q.BACKEND}) ({q.ENTRIES()})",
                        f"max by ({q.SERVICE}, {q.NAME}, {q.BACKEND}) ({q.CAPACITY()})",
                    )
                },
                "Entries of maxsize, of the process that reported last. Full, with evicted "
                "misses beside it: too small. Full without them: just right.",
                span=THIRD,
            )
        )
        .with_panel(_schemas())
        .with_row(Row("The provider's prompt cache"))
        .with_panel(
            series(
                "Answers by outcome",
                "reqps",
                {
                    "{{llm_cache_prompt_outcome}}": q.recent(
                        q.RECENT_PROMPTS(), "llm_cache_prompt_outcome"
                    )
                },
                "read is what pays. write again and again without read costs more than no cache. "
                "ineligible: too short, or not marked.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Nothing read, by reason",
                "reqps",
                {
                    "{{llm_cache_prompt_outcome}} {{llm_cache_prompt_reason}}": q.recent(
                        q.RECENT_PROMPTS('llm_cache_prompt_reason!=""'),
                        "llm_cache_prompt_outcome",
                        "llm_cache_prompt_reason",
                    )
                },
                "prefix_changed: something that changes stands before what does not; the trace "
                "says where. expired: asked too seldom. "
                "below_minimum, unmarked: can't be cached as it is.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "What writing costs, and reading saves, per hour",
                "currencyUSD",
                {
                    "saved by reads": PER_HOUR + q.recent(q.RECENT_SAVED(q.PROMPT_LAYER)),
                    "write premium": PER_HOUR + q.recent(q.RECENT_PREMIUM()),
                },
                "The premium above what reads save: this prompt cache loses money. Mark less, or "
                "ask more often.",
                span=THIRD,
            )
        )
        .with_row(Row("Errors"))
        .with_panel(
            series(
                "Calls that failed",
                "reqps",
                {
                    "{{llm_cache_outcome}} {{error_type}}": q.seldom(
                        q.REQUESTS(q.FAILED), "llm_cache_outcome", "error_type"
                    )
                },
                "Outcome error: the cache failed the call. Any other: the call failed for its "
                "own reasons, and its answer is not stored.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Unpriced, by why",
                "reqps",
                {
                    "{{gen_ai_request_model}} {{llm_cache_unpriced_reason}}": q.seldom(
                        q.UNPRICED(), q.MODEL, "llm_cache_unpriced_reason"
                    )
                },
                "What dollars leave out. unknown_model: Settings(prices=...) or model_aliases. "
                "no_usage: a stream without include_usage, or another process's entry.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Errors of llm-cache-otel itself",
                "ops",
                {
                    "{{llm_cache_instrumentation_where}} {{error_type}}": q.seldom(
                        q.OWN_ERRORS(), "llm_cache_instrumentation_where", "error_type"
                    )
                },
                "Swallowed, and your calls went on. Should be empty: please report it.",
                span=THIRD,
                stacked=True,
            )
        )
    )


def _schemas() -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .title("Schemas in use")
        .description(
            "A digest that ends where another begins is a changed response model: its answers "
            "are stored anew, and its first calls miss."
        )
        .datasource(SOURCE)
        .span(THIRD)
        .height(8)
        .show_value(VisibilityMode.NEVER)
        .mappings(
            [models.ValueMap(options={"1": models.ValueMappingResult(text="in use", color="blue")})]
        )
        .legend(common.VizLegendOptions().show_legend(False))
        .with_target(
            over_time(
                f"max by (instructor_response_model, llm_cache_schema_digest) ({q.SCHEMAS()})",
                "{{instructor_response_model}} {{llm_cache_schema_digest}}",
            )
        )
    )

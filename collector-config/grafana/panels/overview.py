"""What caching is worth: hit rate, dollars and time, and who brings them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from panels import queries as q
from panels.looks import THIRD, number, page, rows, series

SAVED = q.increase(q.SAVED())
SPENT = q.increase(q.SPENT())
PREMIUM = q.increase(q.PREMIUM())
NET = f"{q.or_zero(SAVED)} - {q.or_zero(PREMIUM)}"

NET_RATE = f"{q.or_zero(q.recent(q.RECENT_SAVED()))} - {q.or_zero(q.recent(q.RECENT_PREMIUM()))}"

EACH = (q.SERVICE, q.NAME, q.PROVIDER, q.MODEL)
PER_HOUR = "3600 * "


def overview() -> Dashboard:
    return (
        page(
            "llm-cache-overview",
            "overview",
            "What caching is worth, and where it comes from. Why a call missed is in “diagnosis”.",
            span="now-24h",
        )
        .with_panel(
            number(
                "Hit rate",
                "percentunit",
                q.share(q.increase(q.REQUESTS(q.HIT)), q.increase(q.REQUESTS(q.LOOKED_UP))),
                "Hits of hits and misses, in this range. Bypasses, errors and calls without a "
                "cache are not in it: see requests by outcome.",
            )
        )
        .with_panel(
            number(
                "Saved, net",
                "currencyUSD",
                NET,
                "What hits and prompt-cache reads spared, less what writing prompt caches cost "
                "extra. Below zero: prompt caches are "
                "written and not read; see “diagnosis”.",
            )
        )
        .with_panel(
            number(
                "Off the bill",
                "percentunit",
                f"({NET}) / ({q.or_zero(SPENT)} + {NET} > 0)",
                "Net savings as a share of what the same calls would have cost without any "
                "caching.",
            )
        )
        .with_panel(
            number(
                "Spent", "currencyUSD", SPENT, "What providers charged, failed answers included."
            )
        )
        .with_panel(
            number(
                "Time saved",
                "s",
                q.increase(q.SAVED_SECONDS()),
                "What the calls took that stored the answers, less what their hits took. Of "
                "answers that the same process had stored: a lower bound.",
            )
        )
        .with_panel(
            number(
                "Requests",
                "short",
                q.increase(q.REQUESTS()),
                "Calls observed, with or without a cache.",
            )
        )
        .with_panel(
            number(
                "Unpriced",
                "short",
                q.or_zero(q.increase(q.UNPRICED())),
                "Answers and hits that are in no dollar here, for their model has no known price "
                "or nothing reported their tokens. "
                "Many: Settings(prices=...) or Settings(model_aliases=...).",
            )
        )
        .with_panel(
            number(
                "Alerts firing",
                "short",
                'count(ALERTS{alertname=~"LLMCache.+", alertstate="firing"}) or vector(0)',
                "Whatever the variables say. Each alert's description links to its runbook.",
            )
        )
        .with_row(Row("Response cache"))
        .with_panel(
            series(
                "Hit rate over time",
                "percentunit",
                {
                    "{{job}} {{llm_cache_name}}": q.share(
                        q.recent(q.RECENT_REQUESTS(q.HIT), q.SERVICE, q.NAME),
                        q.recent(q.RECENT_REQUESTS(q.LOOKED_UP), q.SERVICE, q.NAME),
                    )
                },
                "A step down at a blue mark is a deploy that changed a response model: its "
                "answers are stored anew. A step without a mark: see "
                "misses by reason in “diagnosis”.",
            )
        )
        .with_panel(
            series(
                "Requests by outcome",
                "reqps",
                {"{{llm_cache_outcome}}": q.recent(q.RECENT_REQUESTS(), "llm_cache_outcome")},
                "Bypass: a cache was given that could never serve the call. Off: there was none. "
                "Error: the cache failed the call.",
                stacked=True,
            )
        )
        .with_row(Row("Dollars"))
        .with_panel(
            series(
                "Saved per hour, by layer",
                "currencyUSD",
                {
                    "{{llm_cache_layer}}": PER_HOUR + q.recent(q.RECENT_SAVED(), "llm_cache_layer"),
                    "write premium": f"-{PER_HOUR}{q.recent(q.RECENT_PREMIUM())}",
                },
                "Response: calls that hits spared. Prompt: input that providers read from their "
                "prompt caches. Below zero: what writing those cost extra.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Spent and saved per hour",
                "currencyUSD",
                {
                    "spent": PER_HOUR + q.recent(q.RECENT_SPENT()),
                    "saved, net": PER_HOUR + f"({NET_RATE})",
                },
                "Together they are what the same traffic would have cost without caches.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Spent per hour, by model",
                "currencyUSD",
                {"{{gen_ai_request_model}}": PER_HOUR + q.recent(q.RECENT_SPENT(), q.MODEL)},
                "The dearest model is where a hit is worth most.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            rows(
                "Where it comes from",
                {
                    "Requests": ("short", q.increase(q.REQUESTS(), *EACH)),
                    "Hit rate": (
                        "percentunit",
                        q.share(
                            q.increase(q.REQUESTS(q.HIT), *EACH),
                            q.increase(q.REQUESTS(q.LOOKED_UP), *EACH),
                        ),
                    ),
                    "Spent": ("currencyUSD", q.increase(q.SPENT(), *EACH)),
                    "Saved": ("currencyUSD", q.increase(q.SAVED(), *EACH)),
                    "Write premium": ("currencyUSD", q.increase(q.PREMIUM(), *EACH)),
                    "Time saved": ("s", q.increase(q.SAVED_SECONDS(), *EACH)),
                },
                dict(zip(EACH, ("Service", "Name", "Provider", "Model"), strict=True)),
                "Much spent at a low hit rate is where to look first. In this range; a function "
                "and the client that it asks are a row each.",
                by="Spent",
            )
        )
        .with_row(Row("Tokens"))
        .with_panel(
            series(
                "Tokens paid for",
                "short",
                {
                    "input": q.seldom(q.INPUT()),
                    "output": q.seldom(q.OUTPUT()),
                    "read from prompt caches": q.seldom(q.CACHE_READ()),
                    "written to prompt caches": q.seldom(q.CACHE_WRITE()),
                },
                "Per second. Input has in it what was read and written. No filter by name: the "
                "conventions have no such label.",
                span=THIRD,
            )
        )
        .with_panel(
            series(
                "Tokens spared",
                "short",
                {
                    "{{llm_cache_layer}} {{llm_cache_token_type}}": q.seldom(
                        q.SAVED_TOKENS(), "llm_cache_layer", "llm_cache_token_type"
                    )
                },
                "Per second. Of layer prompt: input that was read at the lower price.",
                span=THIRD,
                stacked=True,
            )
        )
        .with_panel(
            series(
                "Input read from prompt caches",
                "percentunit",
                {
                    "{{gen_ai_request_model}}": q.share(
                        q.seldom(q.CACHE_READ(), q.MODEL), q.seldom(q.INPUT(), q.MODEL)
                    )
                },
                "Share of all input tokens. It falls when prompts begin differently, or come too "
                "seldom: see “diagnosis”.",
                span=THIRD,
            )
        )
    )

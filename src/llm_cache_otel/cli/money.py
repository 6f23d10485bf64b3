"""Dollars and tokens of what was received, as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from llm_cache_otel.cli.received import ReceivedMetrics
from llm_cache_otel.cli.wording import counted, dollars, plain
from llm_cache_otel.emit import names

_UNPRICED = {
    "unknown_model": "no price is known of their model or service tier",
    "no_usage": "their provider reported no tokens",
}


def money_rows(metrics: ReceivedMetrics) -> Iterator[tuple[str, Text]]:
    """What each layer saved, what was spent, and what is not known; nothing of what is not there."""
    by_hits, by_prompts = (
        metrics.total(names.SAVED_COST, {names.LAYER: layer}) for layer in ("response", "prompt")
    )
    premium = metrics.total(names.WRITE_PREMIUM_COST)
    if metrics.matching(names.SAVED_COST) or metrics.matching(names.SPENT_COST):
        yield "saved by hits", Text(dollars(by_hits), "green")
        yield "saved by prompt caches", Text(dollars(by_prompts), "green")
        if premium:
            yield "extra for writing to these", Text(dollars(-premium), "red")
        yield "net savings", Text(dollars(by_hits + by_prompts - premium), "bold")
        yield "spent", Text(dollars(metrics.total(names.SPENT_COST)))
    read = metrics.total(names.GEN_AI_CACHE_READ_TOKENS)
    of = metrics.total(names.GEN_AI_INPUT_TOKENS)
    if of and metrics.matching(names.GEN_AI_CACHE_READ_TOKENS):
        share = f"{read / of:.1%} of {of:,} input tokens"
        yield "read from prompt caches", Text(share)
    for (reason,) in metrics.values(names.UNPRICED_REQUESTS, names.UNPRICED_REASON):
        count = metrics.total(names.UNPRICED_REQUESTS, {names.UNPRICED_REASON: reason})
        why = _UNPRICED.get(str(reason), plain(reason))
        yield "without dollars", Text(f"{counted(int(count), 'request', 'requests')}: {why}", "dim")

"""Dollars and tokens of what was received, as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from llm_cache_otel.cli.received import ReceivedMetrics
from llm_cache_otel.cli.wording import counted, dollars, plain
from llm_cache_otel.emit import names

_UNPRICED = {
    "unknown_model": "no price is known of their model or service tier",
    "no_usage": "no tokens reported, or hits of what was not observed here",
}


def net_savings(metrics: ReceivedMetrics) -> float | None:
    """Dollars; `None` where nothing was saved, nor paid for writing to a prompt cache."""
    premium = metrics.total(names.WRITE_PREMIUM_COST)
    is_saved = metrics.matching(names.SAVED_COST)
    return metrics.total(names.SAVED_COST) - premium if is_saved or premium else None


def money_rows(metrics: ReceivedMetrics) -> Iterator[tuple[str, Text]]:
    """What each layer saved, what was spent, and what is not known; nothing of what is not there."""
    if metrics.matching(names.SPENT_COST):
        yield "spent", Text(dollars(metrics.total(names.SPENT_COST)))
    for layer, label in (("response", "saved by hits"), ("prompt", "saved by prompt caches")):
        if metrics.matching(names.SAVED_COST, {names.LAYER: layer}):
            saved = metrics.total(names.SAVED_COST, {names.LAYER: layer})
            yield label, Text(dollars(saved), "green")
    premium = metrics.total(names.WRITE_PREMIUM_COST)
    if premium:
        yield "premium for writing to these", Text(dollars(-premium), "red")
    net = net_savings(metrics)
    if net is not None:
        yield "net savings", Text(dollars(net), "bold")
    read = metrics.total(names.GEN_AI_CACHE_READ_TOKENS)
    of = metrics.total(names.GEN_AI_INPUT_TOKENS)
    if of and metrics.matching(names.GEN_AI_CACHE_READ_TOKENS):
        share = f"{read / of:.1%} of {of:,} input tokens"
        yield "read from prompt caches", Text(share)
    for (reason,) in metrics.values(names.UNPRICED_REQUESTS, names.UNPRICED_REASON):
        count = metrics.total(names.UNPRICED_REQUESTS, {names.UNPRICED_REASON: reason})
        why = _UNPRICED.get(str(reason), plain(reason))
        answers = counted(int(count), "answer", "answers")
        yield "without dollars", Text(f"{answers}: {why}", "dim")

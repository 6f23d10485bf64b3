"""Tokens and dollars as attributes of spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import reduce

from opentelemetry.util.types import AttributeValue

from llm_cache_otel.emit import names
from llm_cache_otel.facts import EXACT, Bill, Verdict

MaybeAttributes = dict[str, AttributeValue | None]


def usage_attributes(bill: Bill) -> MaybeAttributes:
    """Of an attempt, as the GenAI conventions say."""
    usage = bill.usage
    if usage is None:
        return {}
    return {
        names.GEN_AI_USAGE_INPUT: usage.input,
        names.GEN_AI_USAGE_OUTPUT: usage.output,
        names.GEN_AI_USAGE_CACHE_READ: usage.cache_read,
        names.GEN_AI_USAGE_CACHE_WRITE: usage.cache_write,
        names.GEN_AI_USAGE_REASONING: usage.reasoning,
    }


def cost_attributes(bills: Sequence[Bill]) -> MaybeAttributes:
    """What attempts cost, and what the provider's prompt cache did to that; nothing if any is not known."""
    costs = [bill.cost for bill in bills if bill.cost is not None]
    if not costs or len(costs) < len(bills):
        return {}
    saved, premium = zip(*(cost.apart() for cost in costs), strict=True)
    return {
        names.SPENT_COST: _sum([cost.spent for cost in costs]),
        names.SAVED_COST: _sum(saved) or None,
        names.WRITE_PREMIUM_COST: _sum(premium) or None,
    }


def _sum(dollars: Iterable[Decimal]) -> float:
    return float(reduce(EXACT.add, dollars))


def call_attributes(verdict: Verdict) -> MaybeAttributes:
    """Of a whole call: what its attempts cost and were spared, or else what a hit spared."""
    saved = verdict.saved
    if saved is None:
        bills = [bill for bill in verdict.bills if bill is not None]
        read = sum(bill.usage.cache_read or 0 for bill in bills if bill.usage is not None)
        return {**cost_attributes(bills), names.SAVED_INPUT_TOKENS: read or None}
    usage, cost = saved.usage, saved.cost
    return {
        names.SAVED_COST: None if cost is None else float(cost.spent),
        names.SAVED_IS_LEAST: True if saved.is_least and cost is not None else None,
        names.SAVED_INPUT_TOKENS: None if usage is None else usage.input,
        names.SAVED_OUTPUT_TOKENS: None if usage is None else usage.output,
    }

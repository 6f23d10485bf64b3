"""What hits of a function's cache in memory have spared, of many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from llm_cache_otel.facts import EXACT, Bill, Cost, Origin, OriginHits, Spared, Usage

_Owner = tuple[str | None, str | None]


def spared_by(hits: Iterable[OriginHits], bill_of: Callable[[Origin], Bill]) -> list[Spared]:
    """One for each provider and model."""
    by_owner: dict[_Owner, Spared] = {}
    for each in hits:
        owner = each.origin.provider, each.origin.model
        known = by_owner.get(owner) or Spared(*owner)
        by_owner[owner] = _added(known, each, bill_of(each.origin))
    return list(by_owner.values())


def _added(known: Spared, hits: OriginHits, bill: Bill) -> Spared:
    took = hits.origin.seconds
    spared = 0.0 if took is None else max(0.0, took * hits.count - hits.seconds)
    unpriced = Counter(known.unpriced)
    if bill.unpriced is not None:
        unpriced[bill.unpriced] += hits.count
    return Spared(
        provider=known.provider,
        model=known.model,
        count=known.count + hits.count,
        durations=known.durations + hits.durations,
        seconds=known.seconds + spared,
        cost=_sum(known.cost, bill.cost, hits.count),
        usage=_total(known.usage, bill.usage, hits.count),
        unpriced=unpriced,
    )


def _sum(known: Cost | None, cost: Cost | None, times: int) -> Cost | None:
    if cost is None:
        return known
    spent = Cost(EXACT.multiply(cost.spent, times))
    return spent if known is None else known + spent


def _total(known: Usage | None, usage: Usage | None, times: int) -> Usage | None:
    if usage is None:
        return known
    taken = Usage(**{name: count * times for name, count in usage.counts().items()})
    return taken if known is None else known + taken

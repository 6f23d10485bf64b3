"""What hits of a function's cache in memory have spared, of many at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import chain

from llm_cache_otel.facts import EXACT, Bill, Cost, Origin, OriginHits, Spared, Unpriced, Usage

_Owner = tuple[str | None, str | None]
_Billed = tuple[OriginHits, Bill]


def spared_by(hits: Iterable[OriginHits], bill_of: Callable[[Origin], Bill]) -> list[Spared]:
    """One for each provider and model."""
    by_owner: defaultdict[_Owner, list[_Billed]] = defaultdict(list)
    for each in hits:
        by_owner[each.origin.provider, each.origin.model].append((each, bill_of(each.origin)))
    return [_spared(owner, billed) for owner, billed in by_owner.items()]


def _spared(owner: _Owner, billed: list[_Billed]) -> Spared:
    unpriced = Counter[Unpriced]()
    for hits, bill in billed:
        if bill.unpriced is not None:
            unpriced[bill.unpriced] += hits.count
    return Spared(
        *owner,
        count=sum(hits.count for hits, _ in billed),
        durations=tuple(chain.from_iterable(hits.durations for hits, _ in billed)),
        seconds=sum(_seconds(hits) for hits, _ in billed),
        cost=_cost(billed),
        usage=_usage(billed),
        unpriced=unpriced,
    )


def _seconds(hits: OriginHits) -> float:
    took = hits.origin.seconds
    return 0.0 if took is None else max(0.0, took * hits.count - hits.seconds)


def _cost(billed: list[_Billed]) -> Cost | None:
    spent = None
    for hits, bill in billed:
        if bill.cost is not None:
            each = EXACT.multiply(bill.cost.spent, hits.count)
            spent = each if spent is None else EXACT.add(spent, each)
    return None if spent is None else Cost(spent)


def _usage(billed: list[_Billed]) -> Usage | None:
    counts = Counter[str]()
    for hits, bill in billed:
        if bill.usage is not None:
            for name, count in bill.usage.counts().items():
                counts[name] += count * hits.count
    is_any = any(bill.usage is not None for _, bill in billed)
    return Usage(**counts) if is_any else None

"""Tokens and dollars: what one or several inferences took, and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Any

from llm_cache_otel.facts.fact import fact
from llm_cache_otel.facts.reasons import Unpriced

Reported = Mapping[str, Any]
"""A provider's report of its tokens, under its own names: numbers, short words, and what holds these."""


@fact
class Usage:
    """Tokens, in the GenAI conventions' terms. `None` is what was not reported, which is never zero.

    `input` includes what was read from the provider's prompt cache and written to it, `output` includes
    `reasoning`, `cache_write` includes `cache_write_1h`, and what is of sound is part of the rest.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    cache_read_audio: int | None = None

    def counts(self) -> dict[str, int]:
        """What was reported, by the names above."""
        return {name: count for name in _TOKENS if (count := getattr(self, name)) is not None}

    def at_most(self) -> Usage:
        """With all written to a prompt cache, and for an hour, of which it is not reported what was."""
        written = self.cache_write
        if written is None and self.input is not None:
            written = self.input - (self.cache_read or 0)
        hour = written if self.cache_write_1h is None else self.cache_write_1h
        return replace(self, cache_write=written, cache_write_1h=hour)

    def __add__(self, other: Usage) -> Usage:
        counts = Counter(self.counts())
        counts.update(other.counts())
        return Usage(**counts)


_TOKENS = tuple(each.name for each in fields(Usage))

EXACT = Context(
    prec=60,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
"""For dollars, whatever the host has set for decimals of its own."""

_NOTHING = Decimal(0)


@fact
class Cost:
    """USD. `spent + saved - premium` is what it would have cost without the provider's prompt cache.

    `saved` is what reads from it were cheaper than plain input, `premium` what writes to it were dearer;
    either can be negative.
    """

    spent: Decimal
    saved: Decimal = _NOTHING
    premium: Decimal = _NOTHING

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            EXACT.add(self.spent, other.spent),
            EXACT.add(self.saved, other.saved),
            EXACT.add(self.premium, other.premium),
        )

    def apart(self) -> tuple[Decimal, Decimal]:
        """What was saved and what was paid more, neither negative: such a part belongs to the other."""
        saved, premium = self.saved, self.premium
        if not saved and not premium:
            return _NOTHING, _NOTHING
        return (
            EXACT.add(max(saved, _NOTHING), max(EXACT.minus(premium), _NOTHING)),
            EXACT.add(max(premium, _NOTHING), max(EXACT.minus(saved), _NOTHING)),
        )


@fact
class Bill:
    """What one or several inferences took, and cost; `None` for what is not known.

    `is_least` where there may have been more.
    """

    usage: Usage | None = None
    cost: Cost | None = None
    unpriced: Unpriced | None = None
    is_least: bool = False

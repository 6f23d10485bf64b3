"""Rates of the user's own, for models that no price table knows, or that are paid for otherwise."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from genai_prices import Usage as Tokens


class PriceTable(StrEnum):
    """Where prices come from, beside rates of the user's own."""

    BUNDLED = "bundled"
    UPDATED = "updated"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model costs, in USD per million tokens.

    What the provider's prompt cache read costs as much as `input` where `cache_read` is left out, and so do
    writes to it; those kept for an hour cost as much as other writes.

    Raises:
        ValueError: a rate is no number, or negative.
    """

    input: Decimal | float | str
    output: Decimal | float | str
    cache_read: Decimal | float | str | None = None
    cache_write: Decimal | float | str | None = None
    cache_write_1h: Decimal | float | str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                object.__setattr__(self, field.name, _rate(field.name, value))

    def price(self, tokens: Tokens) -> Decimal:
        from genai_prices.types import ModelPrice

        written = self.input if self.cache_write is None else self.cache_write
        rates = {
            "input_mtok": self.input,
            "output_mtok": self.output,
            "cache_read_mtok": self.input if self.cache_read is None else self.cache_read,
            "cache_write_mtok": written,
            "cache_write_1h_mtok": written if self.cache_write_1h is None else self.cache_write_1h,
        }
        return ModelPrice(**cast("dict[str, Decimal]", rates)).calc_price(tokens)["total_price"]


_MOST = 10**9


def _rate(name: str, value: object) -> Decimal:
    try:
        rate = Decimal(str(value))
    except (InvalidOperation, ValueError):  # the latter of an int with thousands of digits
        rate = Decimal("NaN")
    if isinstance(value, bool) or not rate.is_finite() or not 0 <= rate <= _MOST:
        is_short = isinstance(value, int) and abs(value) <= _MOST
        is_legible = is_short or isinstance(value, (str, float, Decimal))
        shown = f"{value!r:.40}" if is_legible else type(value).__name__
        raise ValueError(
            f"Rates({name}=...) must be a number of USD per million tokens, 0 or more, for example "
            f"'0.40'; got {shown}"
        )
    return rate

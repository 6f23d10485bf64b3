"""What an inference costs, by rates of the user's own or else by a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

from llm_cache_otel.facts import EXACT, Cost, Unpriced, Usage
from llm_cache_otel.interpret import price_table
from llm_cache_otel.interpret.inference import Inference
from llm_cache_otel.interpret.rates import PriceTable, Rates

if TYPE_CHECKING:
    from genai_prices import UpdatePrices
    from genai_prices import Usage as Tokens

    from llm_cache_otel.interpret.price_table import Price

_MOST_REMEMBERED = 4096


class Prices:
    """Prices, for as long as the process lives. Thread-safe.

    `own` has rates by model, which go before any table; `aliases` has, for names that no table knows, the
    model to take the price of, as `model` or `provider/model`.
    """

    def __init__(
        self, own: Mapping[str, Rates], aliases: Mapping[str, str], table: PriceTable
    ) -> None:
        self._own = dict(own)
        self._aliases = dict(aliases)
        self._table = table
        self._updates: UpdatePrices | None = None
        self._cost = lru_cache(_MOST_REMEMBERED)(self._computed)

    @property
    def are_off(self) -> bool:
        return self._table is PriceTable.OFF and not self._own

    @property
    def failure(self) -> BaseException | None:
        """Why there are no prices at all, if so."""
        return price_table.table.failure

    @property
    def is_loaded(self) -> bool:
        """Or never will be."""
        if price_table.table.failure is not None:
            return True
        return price_table.table.is_loaded and (
            self._updates is not None or self._table != PriceTable.UPDATED
        )

    def load(self) -> None:
        """Have the table ready. Blocks for half a second, once in a process."""
        price_table.table.load()
        if self.failure is None and self._table is PriceTable.UPDATED and self._updates is None:
            from genai_prices import UpdatePrices

            self._updates = UpdatePrices()
            self._updates.start()

    def cost_of(self, inference: Inference) -> Cost | Unpriced:
        """In USD; or why it can't be told."""
        if not self.is_loaded:
            self.load()
        if self.failure is not None:
            return Unpriced.UNKNOWN_MODEL
        from genai_prices.data_snapshot import get_snapshot

        # Some prices go by the time of day.
        minute = Inference(
            inference.provider,
            inference.models,
            inference.usage,
            inference.seconds // 60 * 60,
            inference.context,
        )
        return self._cost(minute, get_snapshot().timestamp)

    def _computed(self, inference: Inference, _table_of: datetime) -> Cost | Unpriced:
        if inference.usage.input is None or inference.usage.output is None:
            return Unpriced.NO_USAGE
        with localcontext(EXACT):
            price = self._price(inference)
            if price is None:
                return Unpriced.UNKNOWN_MODEL
            try:
                return _cost(price, inference.usage)
            except ValueError:  # the rates ask for more detail than was reported
                return Unpriced.NO_USAGE

    def _price(self, inference: Inference) -> Price | None:
        aliases = [self._aliases[name] for name in inference.models if name in self._aliases]
        for name in (*aliases, *inference.models):
            if name in self._own:
                return self._own[name].price
        if self._table is PriceTable.OFF:
            return None
        for alias in aliases:
            found = price_table.price_of(inference, inference.provider, alias)
            if found is None:  # then a slash in it is not of the model's name
                provider, _, model = alias.rpartition("/")
                found = price_table.price_of(inference, provider or None, model)
            if found is not None:
                return found
        tried = (
            price_table.price_of(inference, inference.provider, name) for name in _same(inference)
        )
        return next((found for found in tried if found is not None), None)


def _same(inference: Inference) -> Iterator[str]:
    """Names of the model that answered: what was asked for, too, unless a router chose another."""
    answered = inference.models[0] if inference.models else ""
    for name in inference.models:
        if name.rpartition("/")[2] in answered:
            yield name


def _cost(price: Price, usage: Usage) -> Cost:
    """Reads are what the price without reads is higher by, and writes what it is higher by for them."""
    reads = ("cache_read", "cache_read_audio")
    writes = ("cache_write", "cache_write_1h")
    spent = price(_tokens(usage))
    unread = price(_tokens(usage, reads)) if usage.cache_read else spent
    uncached = price(_tokens(usage, reads + writes)) if usage.cache_write else unread
    # One zero for all: a cost is kept for each of thousands of entries.
    return Cost(
        spent=spent,
        saved=unread - spent if unread != spent else _ZERO,
        premium=unread - uncached if unread != uncached else _ZERO,
    )


_ZERO = Decimal(0)

_UNITS: Mapping[str, str] = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "output_reasoning_tokens",
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
    "cache_read_audio": "cache_audio_read_tokens",
}


def _tokens(usage: Usage, leave_out: tuple[str, ...] = ()) -> Tokens:
    from genai_prices import Usage as Tokens

    counts = usage.counts().items()
    return Tokens(**{_UNITS[name]: count for name, count in counts if name not in leave_out})

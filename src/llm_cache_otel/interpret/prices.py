"""What an inference costs, from the price table of genai-prices or from rates of the user's own.

https://github.com/pydantic/genai-prices; its import takes up to half a second and 16 MB, so it is loaded when
something is first priced, and `is_loaded` says whether that is still to come. But it imports httpx2, and
openai's SDK uses whatever stands under that name in `sys.modules`, half made or not: so that is imported
beforehand, by whoever imports or instruments, and never beside a call.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from llm_cache_otel import forks
from llm_cache_otel.facts import EXACT, Cost, InferenceResponse, Unpriced, Usage
from llm_cache_otel.interpret.rates import Rates

if TYPE_CHECKING:
    from genai_prices import UpdatePrices
    from genai_prices import Usage as Tokens

    _Price = Callable[[Tokens], Decimal]

_PROVIDERS: Mapping[str, str] = {
    "azure.ai.openai": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
"""Ids of genai-prices, where `gen_ai.provider.name` is another."""

_MOST_REMEMBERED = 4096


class PriceTable(StrEnum):
    """Where prices come from, beside rates of the user's own."""

    BUNDLED = "bundled"
    UPDATED = "updated"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Inference:
    """What was used, of whom, and when (seconds since the Unix epoch).

    `models` are its names, the most telling first; `context` is what else prices depend on.
    """

    provider: str | None
    models: tuple[str, ...]
    usage: Usage
    seconds: float
    context: tuple[tuple[str, str], ...] = ()


def inference_of(
    provider: str | None,
    requested: str | None,
    response: InferenceResponse,
    usage: Usage,
    seconds: float,
) -> Inference:
    models = tuple(dict.fromkeys(filter(None, (response.model, requested))))
    when = seconds if response.created is None else response.created
    return Inference(provider, models, usage, when, tuple(_context(response)))


def _context(response: InferenceResponse) -> Iterator[tuple[str, str]]:
    reported = response.reported or {}
    tier = response.service_tier or reported.get(
        "service_tier"
    )  # Anthropic tells it with the usage
    if isinstance(tier, str):
        yield ("processing", "batch") if tier == "batch" else ("service_tier", tier.lower())
    if isinstance(reported.get("speed"), str):
        yield "speed", reported["speed"].lower()


def import_beforehand() -> None:
    """What must not be imported while another thread calls openai's SDK: a few milliseconds beside that."""
    with suppress(ImportError):
        import httpx2  # noqa: F401


if "openai" in sys.modules:
    import_beforehand()


class _Table:
    """genai-prices' own, one in a process."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._is_held = False
        self.is_loaded = False
        forks.pause_for_forks(self)

    def pause(self, deadline: float) -> bool:
        """Let an import end before this process forks, or a child would wait for it for ever."""
        self._is_held = self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        return self._is_held

    def resume(self) -> None:
        if self._is_held:
            self._lock.release()

    def end(self) -> None:
        forks.pause_for_forks(self)

    def load(self) -> None:
        with self._lock:
            if not self.is_loaded:
                import genai_prices

                # Its data and its units are imported when they are first needed.
                genai_prices.calc_price(
                    genai_prices.Usage(input_tokens=1), "gpt-4o", provider_id="openai"
                )
                self.is_loaded = True


_table = _Table()


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
        return self._table is PriceTable.OFF

    @property
    def is_loaded(self) -> bool:
        return _table.is_loaded and (self._updates is not None or self._table != PriceTable.UPDATED)

    def load(self) -> None:
        """Have the table ready. Blocks for half a second, once in a process."""
        _table.load()
        if self._table is PriceTable.UPDATED and self._updates is None:
            from genai_prices import UpdatePrices

            self._updates = UpdatePrices()
            self._updates.start()

    def cost_of(self, inference: Inference) -> Cost | Unpriced:
        """In USD; or why it can't be told."""
        if not self.is_loaded:
            self.load()
        from genai_prices.data_snapshot import get_snapshot

        # Some prices go by the time of day.
        minute = replace(inference, seconds=inference.seconds // 60 * 60)
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

    def _price(self, inference: Inference) -> _Price | None:
        aliases = [self._aliases[name] for name in inference.models if name in self._aliases]
        for name in (*aliases, *inference.models):
            if name in self._own:
                return self._own[name].price
        for alias in aliases:
            found = _from_table(inference, inference.provider, alias)  # a slash may be of its name
            if found is None:
                provider, _, model = alias.rpartition("/")
                found = _from_table(inference, provider or None, model)
            if found is not None:
                return found
        tried = (_from_table(inference, inference.provider, name) for name in inference.models)
        return next((found for found in tried if found is not None), None)


def _from_table(inference: Inference, provider: str | None, model: str) -> _Price | None:
    from genai_prices.data_snapshot import get_snapshot

    if provider is None:  # another's model of that name may have another price
        return None
    try:
        seller, info = get_snapshot().find_provider_model(
            model, None, _PROVIDERS.get(provider, provider), None
        )
    except LookupError:
        return None
    when = datetime.fromtimestamp(inference.seconds, UTC)

    def price(tokens: Tokens) -> Decimal:
        calculated = info.calc_price(
            tokens,
            seller,
            genai_request_timestamp=when,
            price_context=dict(inference.context) or None,
        )
        return calculated.total_price

    return price


def _cost(price: _Price, usage: Usage) -> Cost:
    """Reads are what the price without reads is higher by, and writes what it is higher by for them."""
    reads = ("cache_read", "cache_read_audio")
    writes = ("cache_write", "cache_write_1h")
    spent = price(_tokens(usage))
    unread = price(_tokens(usage, reads))
    uncached = price(_tokens(usage, reads + writes))
    return Cost(spent=spent, saved=unread - spent, premium=unread - uncached)


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

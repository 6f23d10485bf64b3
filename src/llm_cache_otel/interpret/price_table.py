"""The table of genai-prices: https://github.com/pydantic/genai-prices

Its import takes up to half a second and 16 MB, so it is loaded when something is first priced, and
`is_loaded` says whether that is still to come. But it imports httpx2, and openai's SDK uses whatever stands
under that name in `sys.modules`, half made or not: so that is imported beforehand, by whoever
instruments, and never beside a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from llm_cache_otel import forks
from llm_cache_otel.interpret.inference import Inference
from llm_cache_otel.interpret.rates import Rates
from llm_cache_otel.outside import comes_from_outside

if TYPE_CHECKING:
    from genai_prices import Usage as Tokens
    from genai_prices.types import ModelInfo, Provider

    Price = Callable[[Tokens], Decimal]

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

_BY_TIER = frozenset({"openai", "azure", "anthropic", "aws", "google"})
"""Where another service has other prices. (Groq's have the same.)"""


def import_beforehand() -> None:
    """What must not be imported while another thread calls openai's SDK: a few milliseconds beside that."""
    try:
        import httpx2  # noqa: F401
        import pydantic.dataclasses  # noqa: F401  so that no thread waits for another one's import
    except Exception as error:  # whatever is wrong with it, it is not the host's trouble
        if comes_from_outside(error):
            raise


class _Table:
    """genai-prices' own, one in a process."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.is_loaded = False
        self.failure: BaseException | None = None
        forks.pause_for_forks(self)

    def pause(self, deadline: float) -> bool:
        """Let an import end before this process forks, or a child would wait for it for ever."""
        is_held: bool = self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        return is_held

    def resume(self) -> None:
        forks.let_go(self._lock)

    def end(self) -> None:
        forks.pause_for_forks(self)

    def load(self) -> None:
        """Once: what could not be imported then is not tried again, and `failure` says why.

        Not within itself, where a signal's handler has interrupted it: half of it is imported there.
        """
        if self._lock._is_owned():
            return
        with self._lock:
            if self.is_loaded or self.failure is not None:
                return
            try:
                from genai_prices import Usage
                from genai_prices.data_snapshot import get_snapshot

                # Its data and its units are imported when they are first needed.
                get_snapshot()
                Rates(input=0, output=0).price(Usage(input_tokens=1, output_tokens=1))
                self.is_loaded = True
            except (Exception, SystemExit) as error:
                if comes_from_outside(error):
                    raise
                self.failure = error


table = _Table()


def price_of(inference: Inference, provider: str | None, model: str) -> Price | None:
    """Of any tokens, as this provider charges for this model; `None` where the table does not say."""
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
    if seller.id in _BY_TIER and not _has_prices_for(inference.context, info, seller, when):
        return None

    def price(tokens: Tokens) -> Decimal:
        calculated = info.calc_price(
            tokens,
            seller,
            genai_request_timestamp=when,
            price_context=dict(inference.context) or None,
        )
        return calculated.total_price

    return price


def is_known(model: str) -> bool:
    """Whether anybody's model of that name is in the table; of `provider/model`, that provider's."""
    from genai_prices.data_snapshot import get_snapshot

    provider, _, name = model.rpartition("/")
    for seller, tried in ((None, model), (provider or None, name)):
        with suppress(LookupError):
            get_snapshot().find_provider_model(
                tried, None, None if seller is None else _PROVIDERS.get(seller, seller), None
            )
            return True
    return False


def _has_prices_for(
    context: tuple[tuple[str, str], ...], info: ModelInfo, seller: Provider, when: datetime
) -> bool:
    """Whether the table knows what another than the standard service cost then, of this very seller."""
    its_own = any(info is model for model in seller.models)
    known = {
        item
        for variant in (info.price_variants or () if its_own else ())
        if variant.constraint is None or variant.constraint.active(when)
        for item in variant.when.items()
    }
    return known.issuperset(context)

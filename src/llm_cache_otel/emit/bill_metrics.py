"""Tokens and dollars as metrics: of every attempt what it took, of every hit what it spared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_cache_otel.emit import names
from llm_cache_otel.facts import Bill, Spared, Unpriced, Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter

Labels = dict[str, "str | int | float | bool"]

_USD = "{USD}"
_TOKEN = "{token}"


class BillMetrics:
    """Counters, which only grow: what is negative of one is added to its opposite."""

    def __init__(self, meter: Meter) -> None:
        self._saved = meter.create_counter(
            names.SAVED_COST, _USD, "What caching spared, by the layer that did."
        )
        self._saved_tokens = meter.create_counter(
            names.SAVED_TOKENS, _TOKEN, "Tokens that were not paid for in full, by layer."
        )
        self._spent = meter.create_counter(names.SPENT_COST, _USD, "What providers charge.")
        self._premium = meter.create_counter(
            names.WRITE_PREMIUM_COST,
            _USD,
            "What writing to prompt caches cost more than plain input.",
        )
        self._unpriced = meter.create_counter(
            names.UNPRICED_REQUESTS, "{request}", "Requests whose dollars are not known, by why."
        )
        self._tokens = {
            part: meter.create_counter(name, _TOKEN, description)
            for part, name, description in (
                ("input", names.GEN_AI_INPUT_TOKENS, "Input tokens, with those that were cached."),
                ("output", names.GEN_AI_OUTPUT_TOKENS, "Output tokens."),
                (
                    "cache_read",
                    names.GEN_AI_CACHE_READ_TOKENS,
                    "Input tokens read from a prompt cache.",
                ),
                (
                    "cache_write",
                    names.GEN_AI_CACHE_WRITE_TOKENS,
                    "Input tokens written to a prompt cache.",
                ),
            )
        }

    def record_hit(self, saved: Bill, whose: Labels, context: Context | None) -> None:
        """What the call had taken whose answer was found."""
        layer = {**whose, names.LAYER: "response"}
        if saved.cost is not None:
            self._saved.add(float(saved.cost.spent), layer, context)
        if saved.usage is not None:
            self._add_saved_tokens("input", saved.usage.input, layer, context)
            self._add_saved_tokens("output", saved.usage.output, layer, context)
        self._add_unpriced(saved.unpriced, whose, context)

    def record_spared(self, spared: Spared, whose: Labels, context: Context | None) -> None:
        """What the calls had taken whose answers were found, of several hits."""
        self.record_hit(Bill(spared.usage, spared.cost), whose, context)
        for reason, times in spared.unpriced.items():
            self._add_unpriced(reason, whose, context, times)

    def record_attempt(self, bill: Bill, whose: Labels, context: Context | None) -> None:
        layer = {**whose, names.LAYER: "prompt"}
        if bill.cost is not None:
            self._spent.add(float(bill.cost.spent), whose, context)
            saved, premium = bill.cost.apart()
            if saved:
                self._saved.add(float(saved), layer, context)
            if premium:
                self._premium.add(float(premium), whose, context)
        if bill.usage is not None:
            self._add_saved_tokens("input", bill.usage.cache_read, layer, context)
        self._add_unpriced(bill.unpriced, whose, context)

    def record_tokens(self, usage: Usage, inference: Labels, context: Context | None) -> None:
        """As the GenAI conventions say, but for what was not reported: that is not recorded as 0."""
        labels = {**inference, names.GEN_AI_TOKEN_MODALITY: "unknown"}
        counts = usage.counts()
        for part, counter in self._tokens.items():
            if part in counts:
                counter.add(counts[part], labels, context)

    def _add_saved_tokens(
        self, kind: str, tokens: int | None, layer: Labels, context: Context | None
    ) -> None:
        if tokens:
            self._saved_tokens.add(tokens, {**layer, names.TOKEN_TYPE: kind}, context)

    def _add_unpriced(
        self, reason: Unpriced | None, whose: Labels, context: Context | None, times: int = 1
    ) -> None:
        if reason is not None:
            labels = {name: value for name, value in whose.items() if name != names.NAME}
            self._unpriced.add(times, {**labels, names.UNPRICED_REASON: reason.value}, context)

"""Tokens and dollars as metrics: of every attempt what it took, of every hit what it spared."""

from __future__ import annotations

from llm_cache_otel.emit import names
from llm_cache_otel.emit.tally import Labels, Tallies
from llm_cache_otel.facts import Bill, Spared, Unpriced, Usage

_USD = "{USD}"
_TOKEN = "{token}"


class BillMetrics:
    """Counters, which only grow: what is negative of one is added to its opposite."""

    def __init__(self, tallies: Tallies) -> None:
        self._saved = tallies.counter(
            names.SAVED_COST, _USD, "What caching spared, by the layer that did."
        )
        self._saved_tokens = tallies.counter(
            names.SAVED_TOKENS, _TOKEN, "Tokens that were not paid for in full, by layer."
        )
        self._spent = tallies.counter(names.SPENT_COST, _USD, "What providers charge.")
        self._premium = tallies.counter(
            names.WRITE_PREMIUM_COST,
            _USD,
            "What writing to prompt caches cost more than plain input.",
        )
        self._unpriced = tallies.counter(
            names.UNPRICED_REQUESTS, "{request}", "Requests whose dollars are not known, by why."
        )
        self._tokens = {
            part: tallies.counter(name, _TOKEN, description)
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

    def record_hit(self, saved: Bill, whose: Labels) -> None:
        """What the call had taken whose answer was found."""
        layer = whose.but(names.LAYER, "response")
        if saved.cost is not None:
            self._saved.add(float(saved.cost.spent), layer)
        if saved.usage is not None:
            self._add_saved_tokens("input", saved.usage.input, layer)
            self._add_saved_tokens("output", saved.usage.output, layer)
        self._add_unpriced(saved.unpriced, whose)

    def record_spared(self, spared: Spared, whose: Labels) -> None:
        """What the calls had taken whose answers were found, of several hits."""
        self.record_hit(Bill(spared.usage, spared.cost), whose)
        for reason, times in spared.unpriced.items():
            self._add_unpriced(reason, whose, times)

    def record_attempt(self, bill: Bill, whose: Labels) -> None:
        layer = whose.but(names.LAYER, "prompt")
        if bill.cost is not None:
            self._spent.add(float(bill.cost.spent), whose)
            saved, premium = bill.cost.apart()
            if saved:
                self._saved.add(float(saved), layer)
            if premium:
                self._premium.add(float(premium), whose)
        if bill.usage is not None:
            self._add_saved_tokens("input", bill.usage.cache_read, layer)
        self._add_unpriced(bill.unpriced, whose)

    def record_tokens(self, usage: Usage, inference: Labels) -> None:
        """As the GenAI conventions say, but for what was not reported: that is not recorded as 0."""
        labels = inference.but(names.GEN_AI_TOKEN_MODALITY, "unknown")
        counts = usage.counts()
        for part, counter in self._tokens.items():
            if part in counts:
                counter.add(counts[part], labels)

    def _add_saved_tokens(self, kind: str, tokens: int | None, layer: Labels) -> None:
        if tokens:
            self._saved_tokens.add(tokens, layer.but(names.TOKEN_TYPE, kind))

    def _add_unpriced(self, reason: Unpriced | None, whose: Labels, times: int = 1) -> None:
        if reason is not None:
            labels = whose.but(names.NAME, None).but(names.UNPRICED_REASON, reason.value)
            self._unpriced.add(times, labels)

"""The one joint between observing and emitting: finished facts come in, and are said later.

A call waits for no more than a span's place in the context, and for its facts to be put where `later` finds
them. What they mean, spans, metrics and advice are made there, off its path.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from llm_cache_otel.emit.company import InferenceSpans, is_suppressed, unless_suppressed
from llm_cache_otel.emit.current import current_context
from llm_cache_otel.emit.gauges import Inventory
from llm_cache_otel.emit.log import warn_once
from llm_cache_otel.emit.metrics import Metrics
from llm_cache_otel.emit.scope import SpanScope
from llm_cache_otel.emit.signals import Route, Signals
from llm_cache_otel.facts import (
    BackendFacts,
    Bill,
    CallFacts,
    FunctionHits,
    Neighbour,
    OpeningParts,
    PromptFinding,
    Scope,
    Verdict,
)
from llm_cache_otel.guard import Guard
from llm_cache_otel.interpret.advice import advice_for, stale_model
from llm_cache_otel.interpret.bills import Bills
from llm_cache_otel.interpret.function_hits import spared_by
from llm_cache_otel.interpret.histories import histories
from llm_cache_otel.interpret.outcome import outcome_of
from llm_cache_otel.interpret.patterns import Patterns
from llm_cache_otel.interpret.price_table import import_beforehand
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.prompt_cache import PromptCaches
from llm_cache_otel.interpret.prompt_rules import PromptRules
from llm_cache_otel.interpret.rates import PriceTable
from llm_cache_otel.interpret.sent_prompts import sent_prompts
from llm_cache_otel.later import later
from llm_cache_otel.observe.ports import Ended
from llm_cache_otel.settings import Settings

_FEW, _MOST_TEXT = 64, 64_000_000
"""Calls that wait, whose prompts may be of any length; and the characters of the prompts of more."""


class Reporter:
    """Says what happened, each call through the providers that apply when it begins."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        settings: Settings,
    ) -> None:
        self.guard = Guard(self._report_error)
        self._losses = count(1)
        self._lost = self._lost_told = 0
        self.tells_hits_apart = settings.function_hit_spans
        self._salt = hashlib.sha256(settings.digest_salt.encode()).digest()
        self._inference_spans = InferenceSpans(settings.inference_spans)
        self._inventory = Inventory(self.guard)
        self.watch_size = self._inventory.watch_size
        self.history_of = histories.of
        self.route = Route(tracer_provider, meter_provider, settings.exit_timeout, self._inventory)
        import_beforehand()
        self.prices = Prices(
            settings.prices, settings.model_aliases, PriceTable(settings.price_table)
        )
        self._bills = Bills(self.prices, self._dropped_count)
        rules = PromptRules(settings.prompt_minimums, settings.prompt_retentions)
        self.knows = self._bills.knows
        self._has_prices = False
        self._prompt_caches = PromptCaches(rules, sent_prompts)
        self.is_uncached = self._prompt_caches.is_uncached
        self._patterns = Patterns()

    def open(
        self,
        opening: OpeningParts,
        within: Scope | None = None,
        *,
        current: Any = None,
    ) -> SpanScope:
        signals = self.route.signals() if within is None else self._signals_of(within)
        around = current_context() if current is None else current
        return signals.spans.open(opening, signals, self.guard, around)

    def open_attempt(
        self, opening: OpeningParts, neighbours: tuple[Neighbour, ...], within: Scope
    ) -> SpanScope:
        signals = self._signals_of(within)
        if not self._has_prices:
            self._prepare()
        return signals.spans.open_attempt(
            opening, neighbours, signals, self.guard, self._inference_spans
        )

    def _prepare(self) -> None:
        """Load prices while the provider answers."""
        with self.guard("prices"):
            load = self._bills.prepare()
            self._has_prices = load is None
            if load is not None:
                later.put(partial(self._load, load))

    def _load(self, load: Callable[[], None]) -> None:
        with self.guard("prices"):
            load()

    current = staticmethod(unless_suppressed)
    is_suppressed = staticmethod(is_suppressed)

    def missed_call(self) -> None:
        if not is_suppressed():
            warn_once(
                "missed call",
                "A call of Instructor's went by unobserved: its client was changed by instructor.patch "
                "before LLMCacheInstrumentor().instrument(), or by a patch that was imported before it, "
                "or its class defines a create_fn of its own. "
                "Hand the client to llm_cache_otel.instrument(), or instrument earlier.",
            )

    def finished(self, facts: CallFacts | BackendFacts, *, dropped: bool = False) -> None:
        if isinstance(facts, CallFacts) and facts.history is not None and not dropped:
            with self.guard("history"):
                facts.history.relieve()
        self._put(partial(self._say, facts), dropped=dropped)

    def ended(self, call: Ended, *, dropped: bool = False) -> None:
        # The call's own method: a partial of ours takes three times as long to make.
        if not later.put(call.tell, helps=not dropped):
            self._lost = next(self._losses)

    def function_hits(self, facts: FunctionHits, *, dropped: bool = False) -> None:
        self._put(partial(self._say_hits, facts), dropped=dropped)

    def _put(self, work: Callable[[], None], *, dropped: bool) -> None:
        if not later.put(work, helps=not dropped):
            self._lost = next(self._losses)

    def _say_hits(self, facts: FunctionHits) -> None:
        with self.guard("function hits"):
            signals = self.route.signals()
            for spared in spared_by(facts.hits, self._bills.of_origin):
                signals.metrics.record_function_hits(facts, spared)
            self._close_with(signals.metrics)
            self._tell_of_missing_prices()
            if facts.stale is not None:
                advice = stale_model(facts, facts.stale)
                warn_once(advice.cause, advice.text)

    def before_collection(self, work: weakref.WeakMethod[Callable[[], None]]) -> None:
        self._inventory.before_collection(work)

    def ready(self) -> None:
        self.route.signals()

    def longest_prompt(self) -> int | None:
        """So that the prompts of all the calls that wait are bounded together."""
        waiting = later.waiting
        return None if waiting < _FEW else _MOST_TEXT // waiting

    def tell(self, call: Ended) -> None:
        with self.guard("facts"):
            self._say(call.facts())

    def _say(self, facts: CallFacts | BackendFacts) -> None:
        with self.guard("later"):
            signals = self._signals_of(facts.scope)
            if not signals.are_ours:
                return  # it began in the process that this one was forked from, which says it
            if isinstance(facts, BackendFacts):
                self._backend_finished(facts, signals)
            else:
                self._call_finished(facts, signals)
            self._tell_of_losses(signals)

    def _close_with(self, metrics: Metrics) -> None:
        later.close_with(metrics, partial(self._pass_on, metrics))

    def _pass_on(self, metrics: Metrics) -> None:
        with self.guard("history"):
            histories.settle()
        with self.guard("metrics"):
            metrics.pass_on()

    def _tell_of_losses(self, signals: Signals) -> None:
        lost, self._lost_told = self._lost - self._lost_told, self._lost
        if lost:
            signals.metrics.count_error("queue", "full", lost)
            warn_once(
                "queue",
                "llm-cache-otel was told of more calls than it could tell of, and dropped some: an exporter "
                "or a span processor holds it up. llm_cache.instrumentation.errors counts them.",
            )

    def _signals_of(self, scope: Scope | None) -> Signals:
        return scope.signals if isinstance(scope, SpanScope) else self.route.signals()

    def digest(self, text: str) -> str:
        said = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._salt, digest_size=8).hexdigest()

    def _backend_finished(self, facts: BackendFacts, signals: Signals) -> None:
        with self.guard("spans"):
            signals.spans.finish_backend(facts)
        with self.guard("metrics"):
            signals.metrics.record_backend(facts)
            self._close_with(signals.metrics)

    def _call_finished(self, call: CallFacts, signals: Signals) -> None:
        verdict = None
        if call.function is not None:
            with self.guard("origin"):
                call = self._bills.with_origin(call)
        if call.history is not None and call.diagnosis is not None:
            with self.guard("history"):
                call.history.make(call.diagnosis)
        with self.guard("interpret"):
            verdict = self._verdict(call)
        with self.guard("spans"):
            signals.spans.finish_call(call, verdict, self.guard)
        if verdict is None:
            return
        with self.guard("metrics"):
            signals.metrics.record_call(call, verdict)
            self._close_with(signals.metrics)
        with self.guard("gauges"):
            if call.response_model is not None and call.schema_digest is not None:
                self._inventory.note_schema(call.response_model, call.schema_digest)
        with self.guard("advice"):
            self._advise(call, verdict)

    def _verdict(self, call: CallFacts) -> Verdict:
        outcome, reason = outcome_of(call)
        key_digest: str | None = None
        bills: tuple[Bill | None, ...] = ()
        prompts: tuple[PromptFinding | None, ...] = ()
        stored = None
        with self.guard("digest"):
            if call.key is not None and call.key.key is not None:
                key_digest = self.digest(call.key.key)
        with self.guard("bills"):
            bills = self._bills.of_attempts(call)
            with self.guard("prompt cache"):
                prompts = self._prompt_caches.of_attempts(call, bills)
            stored = self._bills.saved_by(call, outcome, bills)
            self._tell_of_missing_prices()
        return Verdict(
            outcome,
            reason,
            key_digest,
            saved_duration=None if stored is None else stored.saved_by(call.interval.seconds),
            saved=None if stored is None else stored.bill,
            bills=bills,
            prompts=prompts,
        )

    def _tell_of_missing_prices(self) -> None:
        failure = self._bills.failure
        if failure is not None:
            warn_once(
                "prices",
                f"There are no dollars: genai-prices can't be imported ({type(failure).__name__}). "
                "Install it again, or switch prices off with Settings(price_table='off').",
            )

    def _dropped_count(self, name: str) -> None:
        self.route.signals().metrics.count_error("usage", f"impossible {name}")

    def _advise(self, call: CallFacts, verdict: Verdict) -> None:
        for advice in (advice_for(call, verdict), *self._patterns.advice_for(call, verdict)):
            if advice is not None:
                warn_once(advice.cause, advice.text)

    def _report_error(self, where: str, error: Exception) -> None:
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        # The message stays unsaid: it may quote what the host was working on.
        warn_once(
            ("instrumentation", where, name),
            f"llm-cache-otel swallowed an error of its own ({name} in '{where}'); the program is not "
            "affected. Please report it.",
        )
        self.route.signals().metrics.count_error(where, name)

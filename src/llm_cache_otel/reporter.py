"""The one joint between observing and emitting: finished facts come in, and are said.

Everything is done inline, on the caller's thread, but for what a finalizer finds out. Moving the rest to
a worker thread would change this module only: `finished` would queue all that it is given.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable

from llm_cache_otel.emit.signals import Signals
from llm_cache_otel.emit.spans import SpanScope
from llm_cache_otel.facts import BackendFacts, CallFacts, Opening, SpanRole, Verdict
from llm_cache_otel.interpret.advice import advice_for
from llm_cache_otel.interpret.outcome import outcome_of
from llm_cache_otel.interpret.saved_duration import StoringDurations
from llm_cache_otel.later import later


class Reporter:
    """Says what happened, through one pair of providers."""

    def __init__(self, signals: Signals, salt: str) -> None:
        self.guard = signals.guard
        self._signals = signals
        self._salt = hashlib.sha256(salt.encode()).digest()
        self._storing_durations = StoringDurations()

    def open(self, opening: Opening) -> SpanScope:
        if opening.role is SpanRole.CREATE:
            later.ready()
        return self._signals.spans.open(opening)

    def finished(self, facts: CallFacts | BackendFacts, *, dropped: bool = False) -> None:
        if dropped:
            later.put(lambda: self._finished_later(facts))
        elif isinstance(facts, BackendFacts):
            self._backend_finished(facts)
        else:
            self._call_finished(facts)

    def _finished_later(self, facts: CallFacts | BackendFacts) -> None:
        with self.guard("later"):
            self.finished(facts)

    def digest(self, key: str) -> str:
        return hashlib.blake2b(key.encode(), key=self._salt, digest_size=8).hexdigest()

    def watch_size(
        self,
        cache: weakref.ref[object],
        size: Callable[[object], tuple[int, int]],
        backend: str,
        name: str | None,
    ) -> None:
        self._signals.gauges.watch_size(cache, size, backend, name)

    def _backend_finished(self, facts: BackendFacts) -> None:
        with self.guard("spans"):
            self._signals.spans.finish_backend(facts)
        with self.guard("metrics"):
            self._signals.metrics.record_backend(facts)

    def _call_finished(self, call: CallFacts) -> None:
        verdict = None
        with self.guard("interpret"):
            verdict = self._verdict(call)
        with self.guard("spans"):
            self._signals.spans.finish_call(call, verdict)
        if verdict is None:
            return
        with self.guard("metrics"):
            self._signals.metrics.record_call(call, verdict)
        with self.guard("gauges"):
            if call.response_model is not None and call.schema_digest is not None:
                self._signals.gauges.note_schema(call.response_model, call.schema_digest)
        with self.guard("advice"):
            self._advise(call, verdict)

    def _verdict(self, call: CallFacts) -> Verdict:
        outcome, reason = outcome_of(call)
        saved = self._storing_durations.saved_by(call, outcome)
        return Verdict(outcome, reason, saved_duration=saved)

    def _advise(self, call: CallFacts, verdict: Verdict) -> None:
        advice = advice_for(call, verdict)
        if advice is not None:
            self._signals.once.warn(advice.cause, advice.text)

"""The contract's metrics, recorded with the span's context so that exemplars link to traces."""

from __future__ import annotations

from contextlib import ExitStack

from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.trace import get_current_span

from llm_cache_otel._version import __version__
from llm_cache_otel.emit import names
from llm_cache_otel.emit.bill_metrics import BillMetrics
from llm_cache_otel.emit.bounded import Bounded
from llm_cache_otel.emit.company import is_told
from llm_cache_otel.emit.durations import Durations
from llm_cache_otel.emit.gauges import Gauges
from llm_cache_otel.emit.lazy import LazySpan
from llm_cache_otel.emit.scope import SpanScope
from llm_cache_otel.emit.sendable import sendable
from llm_cache_otel.emit.tally import Labels, LabelValue, Tallies
from llm_cache_otel.facts import (
    AttemptFacts,
    BackendFacts,
    Bill,
    CallFacts,
    FunctionHits,
    Neighbour,
    Outcome,
    PromptFinding,
    Scope,
    Spared,
    Verdict,
)

KEY_BOUNDARIES = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 1e-1]
BACKEND_BOUNDARIES = [
    *(1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1),
    *(1.0, 5.0),
]
REQUEST_BOUNDARIES = [
    *(1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 1e-1, 2.5e-1, 5e-1),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
]
GEN_AI_BOUNDARIES = [
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
]

_BOUNDED = (
    names.NAME,
    names.BACKEND,
    names.GEN_AI_PROVIDER_NAME,
    names.GEN_AI_REQUEST_MODEL,
    names.GEN_AI_RESPONSE_MODEL,
    names.ERROR_TYPE,
    names.SERVER_ADDRESS,
)
_MOST_KNOWN = 1_000

_WHOSE = (names.NAME, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_REQUEST_MODEL)
_REQUEST = (names.OUTCOME, names.BACKEND, names.ERROR_TYPE, *_WHOSE)
_KEY = (names.GEN_AI_PROVIDER_NAME,)
_BACKEND = (names.BACKEND, names.NAME, names.OPERATION, names.ERROR_TYPE)
_ATTEMPT = (
    *(names.GEN_AI_OPERATION_NAME, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_REQUEST_MODEL),
    *(names.GEN_AI_RESPONSE_MODEL, names.SERVER_ADDRESS, names.SERVER_PORT),
)


class Metrics:
    """The instruments of one provider; `alone` if nobody else's go there."""

    def __init__(self, provider: MeterProvider, *, alone: bool = False) -> None:
        self.provider = provider
        self._alone = alone
        meter = provider.get_meter(names.SCOPE, __version__, names.SCHEMA_URL)
        self.gauges = Gauges(meter)
        self._tallies = tallies = Tallies(meter)
        self._requests = tallies.counter(
            names.REQUESTS, "{request}", "Calls of create, by what the response cache did."
        )
        self._request_duration = self._durations(
            meter, names.REQUEST_DURATION, "Time that a call of create took.", REQUEST_BOUNDARIES
        )
        self._key_duration = self._durations(
            meter, names.KEY_DURATION, "Time that Instructor's key function took.", KEY_BOUNDARIES
        )
        self._backend_duration = self._durations(
            meter,
            names.BACKEND_DURATION,
            "Time that a get or set of the cache's backend took.",
            BACKEND_BOUNDARIES,
        )
        self._saved_duration = tallies.counter(
            names.SAVED_DURATION, "s", "What the storing calls took minus what their hits took."
        )
        self._operation_duration = self._durations(
            meter, names.GEN_AI_OPERATION_DURATION, "GenAI operation duration.", GEN_AI_BOUNDARIES
        )
        self._prompt_requests = tallies.counter(
            names.PROMPT_REQUESTS,
            "{request}",
            "Answers of providers, by what their prompt cache did.",
        )
        self._bills = BillMetrics(tallies)
        self._errors = meter.create_counter(
            names.INSTRUMENTATION_ERRORS, "{error}", "Errors of llm-cache-otel itself, swallowed."
        )
        self._batched = (
            *(self._request_duration, self._key_duration),
            *(self._backend_duration, self._operation_duration),
        )
        self._bounded = {name: Bounded() for name in _BOUNDED}
        self._known: dict[tuple[tuple[str, ...], tuple[LabelValue | None, ...]], Labels] = {}

    @staticmethod
    def _durations(meter: Meter, name: str, what: str, boundaries: list[float]) -> Durations:
        histogram = meter.create_histogram(
            name, "s", what, explicit_bucket_boundaries_advisory=boundaries
        )
        return Durations(histogram, boundaries)

    def are_told(self, neighbours: tuple[Neighbour, ...], *, around: bool) -> bool:
        """Whether an inference is told by somebody else's GenAI metrics where ours would go.

        By somebody `around` us, or by one of `neighbours`.
        """
        tellers = (each.duration for each in neighbours if each.duration is not None)
        is_told_there = around or is_told(tellers, self._operation_duration.histogram)
        return not self._alone and is_told_there

    def pass_on(self) -> None:
        """Have the SDK told of what has been counted and measured since it was last.

        One that fails keeps no other from it.
        """
        with ExitStack() as each:
            for durations in self._batched:
                each.callback(durations.pass_on)
            each.callback(self._tallies.pass_on)

    def record_call(self, call: CallFacts, verdict: Verdict) -> None:
        context = _context(call.scope)
        whose = call.name, call.provider, call.model
        outcome = None if verdict.outcome is None else verdict.outcome.value
        labels = self._labels(_REQUEST, outcome, call.backend, call.error_type, *whose)
        self._request_duration.record(call.interval.seconds, labels, context)
        if verdict.reason is not None:
            labels = labels.but(names.REASON, verdict.reason.value)
        self._requests.add(1, labels)
        owner = self._labels(_WHOSE, *whose)
        if verdict.saved_duration:
            self._saved_duration.add(verdict.saved_duration, owner)
        if verdict.saved is not None:
            self._bills.record_hit(verdict.saved, owner)
        if call.key is not None:
            provider = self._labels(_KEY, call.provider)
            self._key_duration.record(call.key.interval.seconds, provider, context)
        if call.lookup is not None and call.lookup.get is not None:
            self.record_backend(call.lookup.get, context)
        if call.store is not None and call.store.set is not None:
            self.record_backend(call.store.set, context)
        unknown = (None,) * len(call.attempts)
        bills, prompts = verdict.bills or unknown, verdict.prompts or unknown
        for attempt, bill, prompt in zip(call.attempts, bills, prompts, strict=True):
            self._record_attempt(attempt, bill)
            if prompt is not None:
                self._record_prompt(prompt, owner)
            if bill is not None:
                self._bills.record_attempt(bill, owner)

    def record_function_hits(self, hits: FunctionHits, spared: Spared) -> None:
        """Several hits of a function's cache at once, of one provider and model."""
        whose = hits.name, spared.provider, spared.model
        labels = self._labels(_REQUEST, Outcome.HIT.value, hits.backend, None, *whose)
        owner = self._labels(_WHOSE, *whose)
        self._requests.add(spared.count, labels)
        for seconds in spared.durations:
            self._request_duration.record(seconds, labels)
        if spared.seconds:
            self._saved_duration.add(spared.seconds, owner)
        self._bills.record_spared(spared, owner)

    def record_backend(self, backend: BackendFacts, context: Context | None = None) -> None:
        operation = backend.operation.value
        labels = self._labels(
            _BACKEND, backend.backend, backend.name, operation, backend.error_type
        )
        context = context or _context(backend.scope)
        self._backend_duration.record(backend.interval.seconds, labels, context)

    def _record_attempt(self, attempt: AttemptFacts, bill: Bill | None) -> None:
        if isinstance(attempt.scope, SpanScope) and attempt.scope.metrics_stepped_back:
            return
        request = attempt.request
        labels = self._labels(
            _ATTEMPT,
            *(request.operation, request.provider, request.model),
            *(attempt.response.model, request.server_address, request.server_port),
        )
        context = _context(attempt.scope)
        if bill is not None and bill.usage is not None:
            self._bills.record_tokens(bill.usage, labels)
        if attempt.error_type is not None:
            labels = labels.but(names.ERROR_TYPE, self._bound(names.ERROR_TYPE, attempt.error_type))
        self._operation_duration.record(attempt.interval.seconds, labels, context)

    def _record_prompt(self, found: PromptFinding, whose: Labels) -> None:
        labels = whose.but(names.PROMPT_OUTCOME, found.outcome.value)
        if found.reason is not None:
            labels = labels.but(names.PROMPT_REASON, found.reason.value)
        self._prompt_requests.add(1, labels)

    def count_error(self, where: str, error_type: str, times: int = 1) -> None:
        """Count errors of our own; leans on nothing here that could be what failed."""
        self._errors.add(times, {names.INSTRUMENTATION_WHERE: where, names.ERROR_TYPE: error_type})

    def _labels(self, keys: tuple[str, ...], *values: LabelValue | None) -> Labels:
        labels = self._known.get((keys, values))
        if labels is None:
            labels = Labels(
                (name, self._bound(name, value))
                for name, value in zip(keys, values, strict=True)
                if value is not None
            )
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[keys, values] = labels
        return labels

    def _bound(self, name: str, value: LabelValue) -> LabelValue:
        if not isinstance(value, str):
            return value
        text, bound = sendable(value), self._bounded.get(name)
        return text if bound is None else bound(text)


def _context(scope: Scope | None) -> Context | None:
    """For an exemplar: of a span that is sampled, whoever's it is."""
    if not isinstance(scope, SpanScope):
        return None
    span = get_current_span(scope.context) if scope.stepped_back else scope.span
    if isinstance(span, LazySpan):
        span = span.ended
    return scope.context if span.get_span_context().trace_flags.sampled else None

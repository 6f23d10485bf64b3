"""The contract's four spans: opened when the host's code begins, finished from the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from llm_cache_otel._version import __version__
from llm_cache_otel.emit import names
from llm_cache_otel.emit.ahead import go_ahead
from llm_cache_otel.emit.bill_attributes import (
    MaybeAttributes,
    cost_attributes,
    usage_attributes,
)
from llm_cache_otel.emit.bounded import Bounded
from llm_cache_otel.emit.company import InferenceSpans, end_of, is_told, is_told_around
from llm_cache_otel.emit.current import current_context
from llm_cache_otel.emit.dropping import Dropping
from llm_cache_otel.emit.lazy import LazySpan
from llm_cache_otel.emit.miss_attributes import prompt_attributes
from llm_cache_otel.emit.scope import Dropped, SpanScope
from llm_cache_otel.emit.sendable import sendable
from llm_cache_otel.emit.span_attributes import (
    at_creation,
    is_told_by_its_call,
    of_backend,
    of_call,
    present,
)
from llm_cache_otel.emit.whole_span import WholeSpan, WholeSpans
from llm_cache_otel.facts import (
    AttemptFacts,
    BackendFacts,
    Bill,
    CallFacts,
    Interval,
    LookupFacts,
    Neighbour,
    Opening,
    OpeningParts,
    PromptFinding,
    Scope,
    SpanRole,
    StoreFacts,
    Verdict,
)
from llm_cache_otel.guard import Guard

if TYPE_CHECKING:
    from llm_cache_otel.emit.signals import Signals

Attributes = dict[str, AttributeValue]

(_SPAN,) = set_span_in_context(INVALID_SPAN, Context())
"""The name that a context has its span by."""


class Spans:
    """Opens and finishes spans of one provider; `alone` if nobody else's go there."""

    def __init__(self, provider: TracerProvider, *, alone: bool = False) -> None:
        self.provider = provider
        self._alone = alone
        self._tracer = provider.get_tracer(names.SCOPE, __version__, names.SCHEMA_URL)
        self._whole = WholeSpans(self._tracer)
        self._dropping = Dropping(self._tracer)
        self._create_names = Bounded(other=names.CREATE)
        if not alone:
            go_ahead(self, end_of(self._tracer))

    def open(
        self, opening: OpeningParts, signals: Signals, guard: Guard, around: Context
    ) -> SpanScope:
        parent = around.get(_SPAN)
        try:
            dropping = self._dropping
            if (dropping.roots if parent is None else dropping.some) and dropping.drops(parent):
                return Dropped(INVALID_SPAN, around, signals)
        except Exception as error:
            if not guard.swallows("spans", error):
                raise
        span = LazySpan(self, opening, around, guard)
        # As `set_span_in_context`, in one step.
        return SpanScope(span, Context({**around, _SPAN: span}), signals)

    def open_attempt(
        self,
        opening: OpeningParts,
        neighbours: tuple[Neighbour, ...],
        signals: Signals,
        guard: Guard,
        inference_spans: InferenceSpans,
    ) -> SpanScope:
        """`open`, unless somebody else tells the inference."""
        around = current_context()
        spans_told, metrics_told = self._told_elsewhere(
            neighbours, signals, inference_spans, is_told_around(around)
        )
        if spans_told:
            scope = SpanScope(INVALID_SPAN, around, signals)
        else:
            scope = self.open(opening, signals, guard, around)
        scope.stepped_back, scope.metrics_stepped_back = spans_told, metrics_told
        return scope

    def _told_elsewhere(
        self,
        neighbours: tuple[Neighbour, ...],
        signals: Signals,
        inference_spans: InferenceSpans,
        around: bool,  # noqa: FBT001
    ) -> tuple[bool, bool]:
        """Whether its span, and its metrics, are told by somebody `around` us, or by a neighbour."""
        if inference_spans is InferenceSpans.NEVER:
            return True, True
        if inference_spans is InferenceSpans.ALWAYS or not (neighbours or around):
            return False, False
        tellers = (neighbour.tracer for neighbour in neighbours)
        spans_told = not self._alone and (around or is_told(tellers, self._tracer))
        return spans_told, signals.metrics.are_told(neighbours, around=around)

    def start(self, opening: Opening, around: Context, guard: Guard, *, is_over: bool) -> Span:
        """As a `LazySpan` has it."""
        request = opening.request
        name = sendable(self._name(opening))
        kind = SpanKind.INTERNAL if request is None else SpanKind.CLIENT
        attributes = present(
            {names.RESPONSE_MODEL: opening.response_model}
            if request is None
            else at_creation(request)
        )
        is_whole = False
        if is_over:
            with guard("spans"):
                is_whole = self._whole.are_as_good()
        if is_whole:
            return self._whole.start(name, around, kind, attributes, opening.start_ns)
        return self._tracer.start_span(
            name, around, kind=kind, attributes=attributes, start_time=opening.start_ns
        )

    def _name(self, opening: Opening) -> str:
        match opening.role:
            case SpanRole.CREATE:
                title = opening.response_model or opening.function
                if title is None:
                    return names.CREATE
                return self._create_names(f"{names.CREATE} {title}")
            case SpanRole.LOOKUP:
                return names.CACHE_LOOKUP
            case SpanRole.STORE:
                return names.CACHE_STORE
            case SpanRole.ATTEMPT:
                assert opening.request is not None
                return " ".join(filter(None, (opening.request.operation, opening.request.model)))

    def finish_call(self, call: CallFacts, verdict: Verdict | None, guard: Guard) -> None:
        span = _ended(call.scope)
        if call.lookup is not None:
            self._finish_lookup(call.lookup, call, guard)
        unknown = (None,) * len(call.attempts)
        bills = (verdict.bills if verdict else ()) or unknown
        prompts = (verdict.prompts if verdict else ()) or unknown
        for attempt, bill, prompt in zip(call.attempts, bills, prompts, strict=True):
            self._finish_attempt(attempt, bill, prompt)
        if call.store is not None:
            self._finish_store(call.store, call, guard)
        if span is not None:
            attributes = of_call(call, verdict)
            if call.attempts and _has_no_span(call.attempts[-1].scope):
                attributes = prompt_attributes(prompts[-1]) | attributes
            _finish(span, call.interval, call.error_type, attributes)

    def _finish_lookup(self, lookup: LookupFacts, call: CallFacts, guard: Guard) -> None:
        if is_told_by_its_call(lookup):
            return
        span = self._span_of(SpanRole.LOOKUP, lookup, call, guard)
        if span is not None:
            attributes: MaybeAttributes = {
                names.BACKEND: call.backend,
                names.HIT: lookup.hit,
                names.KEY_DURATION: call.key.interval.seconds if call.key else None,
                names.ENTRY_SIZE: lookup.get.entry_size if lookup.get else None,
            }
            _finish(span, lookup.interval, lookup.error_type, attributes)

    def _finish_store(self, store: StoreFacts, call: CallFacts, guard: Guard) -> None:
        span = self._span_of(SpanRole.STORE, store, call, guard)
        if span is not None:
            attributes = {} if store.set is None else of_backend(store.set)
            _finish(span, store.interval, store.error_type, attributes)

    def _span_of(
        self, role: SpanRole, part: LookupFacts | StoreFacts, call: CallFacts, guard: Guard
    ) -> Span | None:
        """What was done in memory has none yet: nothing else could have begun within it."""
        if part.scope is not None or type(call.scope) is not SpanScope:
            return _ended(part.scope)
        opening = role, part.interval.start_ns
        # A sampler or processor that fails with it does not cost the call its own.
        span = LazySpan(self, opening, call.scope.context, guard)
        return _recorded(span.ended)

    def finish_backend(self, backend: BackendFacts) -> None:
        """A `get` or `set` of an adapter that is observed by itself."""
        span = _ended(backend.scope)
        if span is not None:
            _finish(span, backend.interval, backend.error_type, of_backend(backend))

    def _finish_attempt(
        self, attempt: AttemptFacts, bill: Bill | None, prompt: PromptFinding | None
    ) -> None:
        span = _ended(attempt.scope)
        if span is None:
            return
        response = attempt.response
        attributes: MaybeAttributes = {
            names.GEN_AI_RESPONSE_MODEL: response.model,
            names.GEN_AI_RESPONSE_ID: response.id,
            names.GEN_AI_RESPONSE_FINISH_REASONS: response.finish_reasons or None,
            names.PARSE_ERROR_TYPE: attempt.parse_error_type,
        }
        if bill is not None:
            attributes |= usage_attributes(bill) | cost_attributes([bill])
        attributes |= prompt_attributes(prompt)
        _finish(span, attempt.interval, attempt.error_type, attributes)


def _ended(scope: Scope | None) -> Span | None:
    """The span that is to be finished; `None` where somebody else's tells it, or it is not recorded."""
    if not isinstance(scope, SpanScope) or scope.stepped_back:
        return None
    return _recorded(scope.span.ended if isinstance(scope.span, LazySpan) else scope.span)


def _recorded(span: Span) -> Span | None:
    return span if isinstance(span, WholeSpan) or span.is_recording() else None


def _finish(
    span: Span, interval: Interval, error_type: str | None, attributes: MaybeAttributes
) -> None:
    if error_type is not None:
        attributes = {**attributes, names.ERROR_TYPE: error_type}
    # No description and no exception event: messages carry prompts and completions.
    status = Status(StatusCode.UNSET if error_type is None else StatusCode.ERROR)
    if isinstance(span, WholeSpan):
        span.finish(present(attributes), status, interval.end_ns)
        return
    if error_type is not None:
        span.set_status(status)
    span.set_attributes(present(attributes))
    span.end(interval.end_ns)


def _has_no_span(scope: Scope | None) -> bool:
    """Whether somebody else's tells it."""
    return isinstance(scope, SpanScope) and scope.stepped_back

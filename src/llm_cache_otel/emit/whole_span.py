"""Spans that the SDK is handed whole, once they are over, where nobody has asked for them before.

The SDK's own `Span` is made to be written to by many while it lasts, and takes five times as long to make as
what its processors are given of it at its end. Here is done what `Tracer.start_span` and `Span.end` do, and
nothing else: whoever watches spans begin, or changes them as they end, is given the SDK's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    TraceFlags,
    get_current_span,
)
from opentelemetry.util.types import AttributeValue

from llm_cache_otel.emit.ahead import Ahead

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

Attributes = Mapping[str, AttributeValue]

_SDK = "opentelemetry.sdk.trace"
"""Which is there where a tracer is of it; to import it again takes its time."""

_MOST_ATTRIBUTES = 100
"""More than any span of ours has."""

_USED = (
    *("sampler", "id_generator", "resource", "span_processor", "instrumentation_info"),
    *("_is_enabled", "_tracer_metrics", "_instrumentation_scope", "_span_limits"),
)
"""What is taken of the SDK's tracer; one that lacks any of it makes every span itself."""

_STEPS = ("__init__", "start", "set_attributes", "set_status", "end")
"""What a span of the SDK's goes through, in its class."""

_QUIET = {
    f"{kind}.{name}"
    for kind in ("SpanProcessor", "SimpleSpanProcessor", "BatchSpanProcessor")
    for name in ("on_start", "_on_ending")
}
"""Methods of the SDK's processors, which do nothing."""


class WholeSpan(NonRecordingSpan):
    """One that is recorded, with an end to come. Whoever else asks finds it as if that had been."""

    def __init__(
        self, context: SpanContext, tell: Callable[[Attributes, Status, int], ReadableSpan]
    ) -> None:
        super().__init__(context)
        self._tell = tell
        self._told: ReadableSpan | None = None

    def finish(self, attributes: Attributes, status: Status, end_ns: int) -> None:
        """Give the SDK's processors all of it."""
        self._told = self._tell(attributes, status, end_ns)

    def __getattr__(self, name: str) -> Any:
        """What the SDK's can be asked for when it has ended, such as `attributes`."""
        told = self.__dict__.get("_told")
        if told is None or name.startswith("__"):
            raise AttributeError(name)
        return getattr(told, name)


class WholeSpans:
    """Makes those of one `opentelemetry.sdk.trace.Tracer`."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._asked: tuple[list[object], bool] = [], False

    def are_as_good(self) -> bool:
        """Whether nobody could tell one from the SDK's own: not if anybody watches them begin.

        Raises:
            Exception: a processor that can't be asked.
        """
        sdk: Any = sys.modules.get(_SDK)
        with suppress(AttributeError):  # of another make
            watching = self._tracer.span_processor
            # As of now: any of them may be wrapped at any time.
            steps = [self._tracer.start_span, watching.on_start, watching._on_ending]
            steps += [getattr(sdk.Span, name) for name in _STEPS]
            began = len(steps)
            for processor in watching._span_processors:
                steps += processor.on_start, processor._on_ending
            asked, are_as_good = self._asked
            if steps != asked:
                are_as_good = self._is_usual() and all(map(_is_the_sdks, steps[:began]))
                are_as_good = are_as_good and all(map(_is_quiet, steps[began:]))
                self._asked = steps, are_as_good
            return are_as_good
        return False

    def _is_usual(self) -> bool:
        from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor, Tracer

        limits = self._tracer._span_limits
        return (
            type(self._tracer) is Tracer
            and type(self._tracer.span_processor) is SynchronousMultiSpanProcessor
            and "start_span" not in vars(self._tracer)  # it may be another tracer's
            and all(hasattr(self._tracer, name) for name in _USED)
            and limits.max_span_attribute_length is None
            and (
                limits.max_span_attributes is None or limits.max_span_attributes > _MOST_ATTRIBUTES
            )
        )

    def start(
        self, name: str, around: Context, kind: SpanKind, attributes: Attributes, start_ns: int
    ) -> Span:
        """As `Tracer.start_span`; what is recorded is a `WholeSpan`."""
        tracer = self._tracer
        within = get_current_span(around).get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(within)
        ids = tracer.id_generator
        parent = within if within.is_valid else None
        if parent is None:
            trace_id, is_random = ids.generate_trace_id(), ids.is_trace_id_random()
        else:
            trace_id, is_random = parent.trace_id, parent.trace_flags.random_trace_id
        make = sys.modules[_SDK].ReadableSpan
        shown = dict(attributes)  # which it may change
        sampled = tracer.sampler.should_sample(around, trace_id, name, kind, shown, ())
        flags = TraceFlags.SAMPLED if sampled.decision.is_sampled() else TraceFlags.DEFAULT
        if is_random:
            flags |= TraceFlags.RANDOM_TRACE_ID
        context = SpanContext(
            trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags),
            trace_state=sampled.trace_state,
        )
        ended = tracer._tracer_metrics.start_span(parent, sampled.decision)
        if not sampled.decision.is_recording():
            return NonRecordingSpan(context)
        begun: dict[str, Any] | BoundedAttributes = dict(sampled.attributes or {})
        if begun != attributes:  # a sampler's own may be anything, and as many
            most = tracer._span_limits.max_span_attributes
            begun = BoundedAttributes(most, begun, immutable=False)

        def tell(more: Attributes, status: Status, end_ns: int) -> ReadableSpan:
            begun.update(more)
            span: ReadableSpan = make(
                name=name,
                context=context,
                parent=parent,
                resource=tracer.resource,
                attributes=begun,
                kind=kind,
                instrumentation_info=tracer.instrumentation_info,
                status=status,
                start_time=start_ns,
                end_time=end_ns,
                instrumentation_scope=tracer._instrumentation_scope,
            )
            ended()
            tracer.span_processor.on_end(span)
            return span

        return WholeSpan(context, tell)


def _is_the_sdks(function: Any) -> bool:
    """Not by its name, which a wrapper has from what it wraps."""
    namespace = getattr(function, "__globals__", None)
    name = namespace.get("__name__") if isinstance(namespace, dict) else None
    return isinstance(name, str) and name.startswith("opentelemetry.sdk.trace")


def _is_quiet(method: Any) -> bool:
    """Whether a processor's does nothing before a span has ended."""
    if getattr(method, "__func__", None) in (Ahead.on_start, Ahead._on_ending):
        return True
    return _is_the_sdks(method) and method.__qualname__ in _QUIET

"""The place in a trace that an observation opens: its span, and the context that has it."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Span

from llm_cache_otel.emit.current import attach, current_context, reset
from llm_cache_otel.emit.lazy import LazySpan
from llm_cache_otel.outside import is_the_hosts

if TYPE_CHECKING:
    from llm_cache_otel.emit.signals import Signals


class SpanScope:
    """An open span and the context that has it as its current one.

    `stepped_back` marks an attempt whose span is another instrumentation's, `metrics_stepped_back` one
    whose GenAI metrics are.
    """

    stepped_back = metrics_stepped_back = False
    _token: Token[Context] | None = None

    def __init__(self, span: Span, context: Context, signals: Signals) -> None:
        self.span = span
        self.context = context
        self.signals = signals

    def enter(self) -> None:
        self._token = attach(self.context)

    def leave(self) -> None:
        token = self._token
        if token is None:
            span = self.span
            if current_context() is self.context and isinstance(span, LazySpan):
                attach(span.around)  # an interrupt struck as it was entered
            return
        try:
            reset(token)
        except Exception as error:
            if is_the_hosts(error):  # it has been reset
                self._token = None
                raise
            context_api.detach(token)  # which has its own say
        self._token = None  # last: an interrupt may have it left once more


class Dropped(SpanScope):
    """Where a span would be dropped: there is none, and what begins within is of the one around."""

    def enter(self) -> None: ...

    def leave(self) -> None: ...

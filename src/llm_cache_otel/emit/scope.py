"""The place in a trace that an observation opens: its span, and the context that has it."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Span

if TYPE_CHECKING:
    from llm_cache_otel.emit.signals import Signals


class SpanScope:
    """An open span and the context that has it as its current one.

    `stepped_back` marks an attempt whose span is another instrumentation's, `metrics_stepped_back` one
    whose GenAI metrics are.
    """

    __slots__ = ("_token", "context", "metrics_stepped_back", "signals", "span", "stepped_back")

    def __init__(
        self,
        span: Span,
        context: Context,
        signals: Signals,
        *,
        stepped_back: bool = False,
        metrics_stepped_back: bool = False,
    ) -> None:
        self.span = span
        self.context = context
        self.signals = signals
        self.stepped_back = stepped_back
        self.metrics_stepped_back = metrics_stepped_back
        self._token: Token[Context] | None = None

    def enter(self) -> None:
        self._token = context_api.attach(self.context)

    def leave(self) -> None:
        if self._token is not None:
            context_api.detach(self._token)
            self._token = None

"""A span that the SDK makes when somebody asks for it, such as a child. Mostly, nobody does at once."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    get_current_span,
)
from opentelemetry.util.types import Attributes, AttributeValue

from llm_cache_otel import forks
from llm_cache_otel.facts import Opening, OpeningParts
from llm_cache_otel.guard import Guard

_RLock = type(threading.RLock())
"""That which `threading.RLock` makes, in one step less."""


class Starter(Protocol):
    def start(self, opening: Opening, around: Context, guard: Guard, *, is_over: bool) -> Span:
        """`is_over` if nobody can write to it any longer."""
        ...


class LazySpan(Span):
    """Stands in for a span that is started once, when it is first asked for anything. Thread-safe.

    It begins `around`; where starting it fails, what begins within it is of the span there.
    """

    _span: Span | None = None
    _meanwhile: Span | None = None

    def __init__(
        self,
        starter: Starter,
        opening: OpeningParts,
        around: Context,
        guard: Guard,
    ) -> None:
        self._starter = starter
        self._opening = opening
        self.around = around
        self._guard = guard

    @property
    def started(self) -> Span:
        span = self._span
        return self._begin(is_over=False) if span is None else span

    @property
    def ended(self) -> Span:
        """For who finishes it."""
        span = self._span
        return self._begin(is_over=True) if span is None else span

    def _begin(self, *, is_over: bool) -> Span:
        # Made when it is needed, by one of those who need it: this is atomic.
        with vars(self).setdefault("_lock", _RLock()):
            span = self._span or self._meanwhile
            if span is None:
                # For who asks while it is started, such as whoever tells that this fails.
                self._meanwhile = meanwhile = INVALID_SPAN
                try:
                    with self._guard("spans"):
                        around = get_current_span(self.around).get_span_context()
                        self._meanwhile = meanwhile = NonRecordingSpan(around)
                        span = self._starter.start(
                            Opening(*self._opening), self.around, self._guard, is_over=is_over
                        )
                    self._span = span = span or meanwhile
                finally:  # after an interrupt, it is started by the next who asks
                    self._meanwhile = None
        return span

    def get_span_context(self) -> SpanContext:
        return self.started.get_span_context()

    def is_recording(self) -> bool:
        return self.started.is_recording()

    def end(self, end_time: int | None = None) -> None:
        self.started.end(end_time)

    def set_attributes(self, attributes: Any) -> None:
        self.started.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.started.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        self.started.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self.started.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self.started.update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.started.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002  as the API has it
    ) -> None:
        self.started.record_exception(exception, attributes, timestamp, escaped)

    def __getattr__(self, name: str) -> Any:
        """What the SDK's has beside that, such as `attributes`."""
        if name.startswith("__") or name in _OWN:  # of a copy that is half made, for one
            raise AttributeError(name)
        return getattr(self.started, name)


_OWN = ("_starter", "_opening", "around", "_guard", "_lock")


class _AroundForks:
    """Has the span that a process forks in started before: a child would give it another id."""

    def pause(self, deadline: float) -> bool:
        get_current_span().get_span_context()
        return True

    def resume(self) -> None: ...

    def end(self) -> None:
        forks.pause_for_forks(self)


_around_forks = _AroundForks()
forks.pause_for_forks(_around_forks)

"""Comes first where an application flushes or ends its spans: what was put for later is said by then."""

from __future__ import annotations

import contextlib
import weakref
from functools import partial
from typing import Any

from llm_cache_otel.guard import Guard
from llm_cache_otel.later import later

_SHUTDOWN_TIMEOUT = 2.0
_guard = Guard(lambda where, error: None)


class Ahead:
    """A span processor that does nothing with spans.

    Not the SDK's by descent: with some values of variables that can't be imported.
    """

    def on_start(self, span: object, parent_context: object = None) -> None: ...

    def _on_ending(self, span: object) -> None: ...

    def on_end(self, span: object) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        with _guard("flush"):
            later.wait(timeout_millis / 1e3)
        return True  # or those behind would not be flushed

    def shutdown(self) -> None:
        with _guard("shutdown"):
            later.wait(_SHUTDOWN_TIMEOUT)


def go_ahead(speaker: object, processors: Any) -> None:
    """Put one before the `processors` of the SDK's provider, for as long as the `speaker` lives.

    Of what is no provider of the SDK's, or flushes its processors side by side, whoever flushes it calls
    `llm_cache_otel.flush` before.
    """
    if hasattr(processors, "_executor"):
        return  # none of them comes first
    ahead = Ahead()
    with contextlib.suppress(AttributeError):
        # Those that are added come last, and would be flushed before they are given anything.
        with processors._lock:
            processors._span_processors = (ahead, *processors._span_processors)
        weakref.finalize(speaker, _let_go, processors, ahead).atexit = False


def _let_go(processors: Any, ahead: Ahead) -> None:
    """A finalizer, whose errors Python tells the host of."""
    with contextlib.suppress(Exception):
        # Whatever dropped the speaker, a garbage collection perhaps, may hold the lock that this takes.
        later.put(partial(_take_back, processors, ahead))


def _take_back(processors: Any, ahead: Ahead) -> None:
    with processors._lock:
        kept = tuple(each for each in processors._span_processors if each is not ahead)
        processors._span_processors = kept

"""Flushing within a time: the SDK's own has no deadline, and says nothing of what was refused."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from llm_cache_otel import forks


class _Flush:
    """One flushing of one provider, in a thread of its own."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.generation = forks.generation
        self.flushed = False
        self._thread = threading.Thread(target=self._run, name="llm_cache_otel-flush", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(Exception):
            self.flushed = bool(self.provider.force_flush())

    @property
    def is_running(self) -> bool:
        return self.generation == forks.generation and not self.is_over_by(0.0)

    def is_over_by(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


_flushes: WeakSet[_Flush] = WeakSet()
"""Each for as long as its thread runs. One for each provider at most: of a Collector that hangs, no heap of
threads may wait."""


def flush_providers(providers: Iterable[Any], deadline: float) -> list[Any]:
    """Those that were not flushed by `deadline`, a time of `time.monotonic`."""
    able = {id(one): one for one in providers if hasattr(one, "force_flush")}
    flushes: list[_Flush] = []
    # What waits for an earlier flushing comes last, so that it holds up no other.
    for provider in sorted(able.values(), key=lambda one: _earlier(one) is not None):
        earlier = _earlier(provider)
        if earlier is None or earlier.is_over_by(deadline):
            flushes.append(_Flush(provider))
    _flushes.update(flushes)
    for flush in flushes:
        if flush.is_over_by(deadline) and flush.flushed:
            del able[id(flush.provider)]
    return list(able.values())


def _earlier(provider: Any) -> _Flush | None:
    running = (flush for flush in list(_flushes) if flush.provider is provider and flush.is_running)
    return next(running, None)

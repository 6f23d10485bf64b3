"""How a private pipeline exports: for its own process only, and saying once when it can't."""

from __future__ import annotations

import logging
import re
from typing import Any

import wrapt
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from llm_cache_otel import forks
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.emit.pipeline.hush import hush, hushed, listen_to
from llm_cache_otel.emit.pipeline.outages import Outages

_FAILED: dict[Signal, Any] = {
    "traces": SpanExportResult.FAILURE,
    "metrics": MetricExportResult.FAILURE,
}


_PATIENCE = 0.05
"""Seconds that a fork may wait for an export, twice."""


class _Gate:
    """Keeps an exporter from being at work while the process forks.

    Of a gRPC call that another thread is in, the library's state in the child would be broken: it aborts
    the process, or sends again what the parent has sent.
    """

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.lock = forks.lock()
        self._is_held = False
        forks.pause_for_forks(self)

    def pause(self) -> None:
        self._is_held = self.lock.acquire(timeout=_PATIENCE)
        if not self._is_held and hasattr(self._exporter, "_initialize_channel_and_stub"):
            # As the exporter itself does to connect anew. What waits for an answer goes on to try again.
            self._exporter._channel.close()
            self._exporter._initialize_channel_and_stub()
            self._is_held = self.lock.acquire(timeout=_PATIENCE)

    def resume(self) -> None:
        if self._is_held:
            self.lock.release()


class OwnExporter(wrapt.BaseObjectProxy[Any]):
    """An exporter that belongs to the process that made it: in a forked child it drops what it gets."""

    def __init__(self, exporter: Any, signal: Signal, outages: Outages) -> None:
        super().__init__(exporter)
        self._self_generation = forks.generation
        self._self_signal: Signal = signal
        self._self_outages = outages
        self._self_gate = _Gate(exporter)
        for kind in type(exporter).__mro__:
            listen_to(kind.__module__)

    def export(self, *args: Any, **kwargs: Any) -> Any:
        signal, outages = self._self_signal, self._self_outages
        failed = _FAILED[signal]
        if self._self_generation != forks.generation:
            return failed
        complaints: list[str] = []

        def listen(record: logging.LogRecord) -> None:
            complaints.append(self._place(record.getMessage()))
            outages.heard(signal, complaints[0])

        result = failed
        with hushed(listen), self._self_gate.lock:
            try:
                result = self.__wrapped__.export(*args, **kwargs)
            except Exception as error:
                complaints.append(self._place(f"{type(error).__qualname__}: {error}"))
        if result is failed:
            outages.failed(signal, complaints[0] if complaints else self._place("no reason given"))
        else:
            outages.delivered(signal)
        return result

    def _place(self, message: str) -> str:
        """Where to, without what is secret in a URL, and what is wrong."""
        endpoint = str(getattr(self.__wrapped__, "_endpoint", "its exporter"))
        return f"to {re.sub('//[^/@]*@', '//', endpoint).partition('?')[0]} ({message.rstrip('.')})"

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        # A parent's connection is not the child's to close.
        if self._self_generation == forks.generation:
            with hushed(lambda _: None):
                self.__wrapped__.shutdown(*args, **kwargs)


class OwnSpanProcessor(BatchSpanProcessor):
    """Batches of spans; that some had to be dropped is told once."""

    def __init__(self, exporter: Any, outages: Outages, **sizes: Any) -> None:
        super().__init__(exporter, **sizes)
        self._listener = lambda _: outages.overflowed()

    def on_end(self, span: ReadableSpan) -> None:
        before, hush.listener = hush.listener, self._listener
        try:
            super().on_end(span)
        finally:
            hush.listener = before

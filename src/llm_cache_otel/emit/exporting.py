"""How a private pipeline exports: for its own process only, and saying once when it can't."""

from __future__ import annotations

import re
from typing import Any

import wrapt
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from llm_cache_otel import forks
from llm_cache_otel.emit.fallbacks import Signal
from llm_cache_otel.emit.hush import hush, hushed, listen_to
from llm_cache_otel.emit.log import logger, warn_once

_FAILED: dict[Signal, Any] = {
    "traces": SpanExportResult.FAILURE,
    "metrics": MetricExportResult.FAILURE,
}


class Outages:
    """Tells in words when a pipeline fails to deliver and when it does again. Thread-safe.

    An outage is told once, whichever signal meets it first.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._failing: set[Signal] = set()
        self._told: set[Signal] = set()
        self.failures = 0

    def failed(self, signal: Signal, where: str, why: str) -> None:
        with self._lock:
            self.failures += 1
            others = self._failing - {signal}
            tell = signal not in self._told and not others
            self._failing.add(signal)
            if tell:
                self._told.add(signal)
        if tell:
            logger.warning(
                "llm-cache-otel can't deliver %s to %s (%s). Calls are not affected, and it keeps trying; "
                "what does not fit into its queue is lost. `llm-cache-otel doctor` finds out more.",
                signal,
                where,
                why,
            )

    def delivered(self, signal: Signal) -> None:
        if signal not in self._failing:
            return
        with self._lock:
            self._failing.discard(signal)
            over = not self._failing and bool(self._told)
            if over:
                self._told.clear()
        if over:
            logger.info("llm-cache-otel delivers %s again.", signal)

    def queue_full(self) -> None:
        if not self._failing:
            warn_once(
                "queue full",
                "llm-cache-otel makes spans faster than they are exported, and drops what does not fit. "
                "A larger OTEL_BSP_MAX_QUEUE_SIZE holds more, sampling makes fewer.",
            )


class OwnExporter(wrapt.BaseObjectProxy[Any]):
    """An exporter that belongs to the process that made it: in a forked child it drops what it gets."""

    def __init__(self, exporter: Any, signal: Signal, outages: Outages) -> None:
        super().__init__(exporter)
        self._self_generation = forks.generation
        self._self_signal: Signal = signal
        self._self_outages = outages
        for kind in type(exporter).__mro__:
            listen_to(kind.__module__)

    def export(self, *args: Any, **kwargs: Any) -> Any:
        failed = _FAILED[self._self_signal]
        if self._self_generation != forks.generation:
            return failed
        said: list[str] = []
        result = failed
        with hushed(lambda record: said.append(record.getMessage())):
            try:
                result = self.__wrapped__.export(*args, **kwargs)
            except Exception as error:
                said.append(f"{type(error).__qualname__}: {error}")
        if result is failed:
            where = _without_secrets(getattr(self.__wrapped__, "_endpoint", ""))
            why = said[0].rstrip(".") if said else "the exporter gave no reason"
            self._self_outages.failed(self._self_signal, where, why)
        else:
            self._self_outages.delivered(self._self_signal)
        return result

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        # A parent's connection is not the child's to close.
        if self._self_generation == forks.generation:
            with hushed(lambda _: None):
                self.__wrapped__.shutdown(*args, **kwargs)


def _without_secrets(endpoint: str) -> str:
    return re.sub(r"//[^/@]*@", "//", str(endpoint)).partition("?")[0]


class OwnSpanProcessor(BatchSpanProcessor):
    """Batches of spans; that some had to be dropped is told once."""

    def __init__(self, exporter: Any, outages: Outages, **sizes: Any) -> None:
        super().__init__(exporter, **sizes)
        self._listener = lambda _: outages.queue_full()

    def on_end(self, span: ReadableSpan) -> None:
        before, hush.listener = hush.listener, self._listener
        try:
            super().on_end(span)
        finally:
            hush.listener = before

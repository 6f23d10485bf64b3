"""How a private pipeline exports: for its own process only, and saying once when it can't."""

from __future__ import annotations

import logging
import re
from enum import Enum
from typing import Any

import wrapt
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from llm_cache_otel import forks
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.emit.pipeline.hush import hushed, listen_to
from llm_cache_otel.emit.pipeline.outages import Outages

FAILED: dict[Signal, Any] = {
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
        result, _ = self.deliver(*args, **kwargs)
        return result

    def deliver(self, *args: Any, **kwargs: Any) -> tuple[Any, bool]:
        """The exporter's result, and whether what it could not deliver may be sent again."""
        signal, outages = self._self_signal, self._self_outages
        failed = FAILED[signal]
        if self._self_generation != forks.generation:
            return failed, False
        records: list[logging.LogRecord] = []

        def listen(record: logging.LogRecord) -> None:
            records.append(record)
            outages.heard(signal, self._place(records[0].getMessage()))

        result, raised = failed, ""
        with hushed(listen), self._self_gate.lock:
            try:
                result = self.__wrapped__.export(*args, **kwargs)
            except Exception as error:
                raised = f"{type(error).__qualname__}: {error}"
        if result is not failed:
            outages.delivered(signal)
            return result, False
        complaint = raised or (records[0].getMessage() if records else "no reason given")
        outages.failed(signal, self._place(complaint))
        return failed, bool(records) and self._may_be_sent_again(records[-1])

    def _may_be_sent_again(self, last_words: logging.LogRecord) -> bool:
        """By OTLP's specification, what was refused for good must not be."""
        codes = getattr(self.__wrapped__, "_retryable_error_codes", None)
        if codes is None:
            return "code: %s" not in str(last_words.msg)  # over HTTP, of what is final only
        said = last_words.args if isinstance(last_words.args, tuple) else ()
        code = next((one for one in said if isinstance(one, Enum)), None)
        return code is None or code in codes

    def _place(self, message: str) -> str:
        """Where to, without what is secret in a URL, and what is wrong."""
        endpoint = str(getattr(self.__wrapped__, "_endpoint", "its exporter"))
        return f"to {re.sub('//[^/@]*@', '//', endpoint).partition('?')[0]} ({message.rstrip('.')})"

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        # A parent's connection is not the child's to close.
        if self._self_generation == forks.generation:
            with hushed(lambda _: None):
                self.__wrapped__.shutdown(*args, **kwargs)

"""How a private pipeline exports: for its own process only, and saying once when it can't."""

from __future__ import annotations

import logging
import re
import time
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

_STUCK = 1.0
"""Seconds after which an export is no longer waited for."""


class _Gate:
    """One export at a time, and while the process forks none that a child would suffer from.

    Of a gRPC call that another thread is in, the library's state in the child would be broken: it hangs,
    aborts the process, or sends again what the parent has sent. And the first export over HTTP still imports
    (`requests` what reads a `.netrc`): for a module that another thread was importing when it was forked, a
    child waits for ever.
    """

    def __init__(self, exporter: Any) -> None:
        self._lock = forks.lock()  # a fork's own thread may export, for a hook of the host's
        self._since = 0.0
        self._is_over_grpc = hasattr(exporter, "_initialize_channel_and_stub")
        self._is_first = True
        self._is_paused = False
        forks.pause_for_forks(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._is_first = False
        self._lock.release()

    def pause(self, deadline: float) -> bool:
        self._is_paused = self._is_over_grpc or self._is_first
        if not self._is_paused:
            return True
        left = max(0.0, deadline - time.monotonic())
        is_stuck = time.monotonic() - self._since > _STUCK
        is_held: bool = self._lock.acquire(timeout=0.0 if is_stuck else left)
        return is_held or not self._is_over_grpc

    def resume(self) -> None:
        if self._is_paused:
            forks.let_go(self._lock)

    def end(self) -> None: ...


class OwnExporter(wrapt.BaseObjectProxy[Any]):
    """An exporter that belongs to the process that made it: in a forked child it drops what it gets."""

    def __init__(self, exporter: Any, signal: Signal, outages: Outages) -> None:
        super().__init__(exporter)
        self._self_generation = forks.generation
        self._self_signal: Signal = signal
        self._self_outages = outages
        self._self_gate = _Gate(exporter)
        modules = (kind.__module__ for kind in type(exporter).__mro__)
        for name in (*modules, "urllib3.connection", "urllib3.connectionpool"):
            listen_to(name)

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
        began = time.monotonic()

        def listen(record: logging.LogRecord) -> None:
            records.append(record)
            outages.heard(signal, self._place(_complaint(records[0])))

        result, raised = failed, ""
        with hushed(listen), self._self_gate:
            try:
                result = self.__wrapped__.export(*args, **kwargs)
            except Exception as error:
                raised = type(error).__qualname__  # its message may quote anything
        if result is not failed:
            outages.delivered(signal)
            return result, False
        complaint = raised or (_complaint(records[0]) if records else "no reason given")
        outages.failed(signal, self._place(complaint), began)
        return failed, bool(records) and self._may_be_sent_again(records[-1])

    def _may_be_sent_again(self, last_words: logging.LogRecord) -> bool:
        """By OTLP's specification, what was refused for good must not be."""
        codes = getattr(self.__wrapped__, "_retryable_error_codes", None)
        if codes is None:  # over HTTP, where only what was answered can have been refused
            return "code: %s" not in str(last_words.msg) or _answered(last_words) is None
        code = _status_code(last_words)
        return code is None or code in codes

    def _place(self, message: str) -> str:
        """Where to, without what is secret in a URL, and what is wrong."""
        endpoint = str(getattr(self.__wrapped__, "_endpoint", "its exporter"))
        shown = re.sub(r"[^/]*@", "", endpoint).partition("?")[0]
        return f"to {shown} ({message.rstrip('.')})"

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        # A parent's connection is not the child's to close.
        if self._self_generation == forks.generation:
            with hushed(lambda _: None):
                self.__wrapped__.shutdown(*args, **kwargs)


def _status_code(record: logging.LogRecord) -> Enum | None:
    """The gRPC status that an exporter's record is about."""
    said = record.args if isinstance(record.args, tuple) else ()
    return next((one for one in said if isinstance(one, Enum)), None)


def _answered(record: logging.LogRecord) -> int | None:
    """The HTTP status that an exporter gave up at; none where there was no answer.

    Nor is there one where the exporter's time was up just when it would have tried again, which it takes for
    the end as well.
    """
    said = record.args if isinstance(record.args, tuple) else ()
    return next((one for one in said if isinstance(one, int)), None)


def _complaint(record: logging.LogRecord) -> str:
    """What is wrong, without what the exporter will do about it, and with nothing that could be secret."""
    said = record.args if isinstance(record.args, tuple) else ()
    code = _status_code(record)
    if code is not None:
        # What a server says is its own; of what gRPC says itself the last error tells most.
        own = re.search(r"; last error: (.*)", str(said[-1]))
        return f"{code.name}: {own[1]}" if own else code.name
    if "code: %s" in str(record.msg):
        answered = _answered(record)
        return f"code {answered}" if answered else "the request can't be made"
    system = re.search(r"\[Errno -?\d+\] [\w ]+", record.getMessage())
    return system[0] if system else next((_kind(one) for one in said), "no answer in time")


def _kind(said: object) -> str:
    return type(said).__qualname__ if isinstance(said, Exception) else "no answer in time"

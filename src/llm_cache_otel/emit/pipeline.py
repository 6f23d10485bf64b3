"""A private OTLP pipeline, for programs that set up no OpenTelemetry of their own.

Built from the standard `OTEL_*` variables, through the SDK's and the exporters' own reading of them.
It never sets a global.
"""

from __future__ import annotations

import atexit
import os
import threading
import time

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from llm_cache_otel.emit.exporters import exporters


def private_tracer_provider(resource: Resource | None, exit_timeout: float) -> TracerProvider:
    """Spans in batches to the exporters of `OTEL_TRACES_EXPORTER`, by default OTLP."""
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters("traces"):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    _shut_down_at_exit(provider, exit_timeout)
    return provider


def private_meter_provider(resource: Resource | None, exit_timeout: float) -> MeterProvider:
    """Metrics at intervals to the exporters of `OTEL_METRICS_EXPORTER`, by default OTLP."""
    readers: list[MetricReader] = []
    for exporter in exporters("metrics"):
        pulled = isinstance(exporter, MetricReader)
        readers.append(exporter if pulled else PeriodicExportingMetricReader(exporter))
    provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    _shut_down_at_exit(provider, exit_timeout)
    return provider


class _Exit:
    """Shuts one process's providers down at exit, waiting no longer than their timeouts.

    With nobody listening an exporter would hold up exit for many seconds. The threads that shut down
    exist from the start, because Python starts none while it exits.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._exiting = threading.Event()
        self._waiting: list[tuple[threading.Thread, float]] = []
        atexit.register(self._wait)

    @property
    def is_of_this_process(self) -> bool:
        return self._process == os.getpid()

    def add(self, provider: TracerProvider | MeterProvider, timeout: float) -> None:
        thread = threading.Thread(
            target=self._shut_down, args=(provider,), name="llm_cache_otel-exit", daemon=True
        )
        thread.start()
        self._waiting.append((thread, timeout))

    def _shut_down(self, provider: TracerProvider | MeterProvider) -> None:
        self._exiting.wait()
        provider.shutdown()

    def _wait(self) -> None:
        if not self.is_of_this_process:
            return
        self._exiting.set()
        started = time.monotonic()
        for thread, timeout in self._waiting:
            thread.join(max(0.0, started + timeout - time.monotonic()))


_exits: list[_Exit] = []


def _shut_down_at_exit(provider: TracerProvider | MeterProvider, timeout: float) -> None:
    if not _exits or not _exits[-1].is_of_this_process:
        _exits.append(_Exit())
    _exits[-1].add(provider, timeout)

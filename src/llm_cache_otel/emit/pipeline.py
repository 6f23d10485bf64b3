"""A private OTLP pipeline, for programs that set up no OpenTelemetry of their own.

Built from the standard `OTEL_*` variables, through the SDK's and the exporters' own reading of them.
It never sets a global.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from llm_cache_otel.emit.log import logger

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def private_tracer_provider(resource: Resource | None, exit_timeout: float) -> TracerProvider:
    """Spans in batches to the exporters of `OTEL_TRACES_EXPORTER`, by default OTLP."""
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in _exporters("traces"):
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    _shut_down_at_exit(provider, exit_timeout)
    return provider


def private_meter_provider(resource: Resource | None, exit_timeout: float) -> MeterProvider:
    """Metrics at intervals to the exporters of `OTEL_METRICS_EXPORTER`, by default OTLP."""
    readers: list[MetricReader] = []
    for exporter in _exporters("metrics"):
        is_reader = isinstance(exporter, type) and issubclass(exporter, MetricReader)
        readers.append(exporter() if is_reader else PeriodicExportingMetricReader(exporter()))
    provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    _shut_down_at_exit(provider, exit_timeout)
    return provider


def _exporters(signal: str) -> Iterator[Any]:
    """Exporter classes for `traces` or `metrics`, by the SDK's entry points."""
    for name in os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").split(","):
        chosen = name.strip().lower()
        if chosen in ("", "none"):
            continue
        if chosen == "otlp":
            chosen = _otlp_exporter(signal)
        found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=chosen))
        if found:
            yield found[0].load()
        else:
            logger.warning(
                "OTEL_%s_EXPORTER names the exporter %r, which is not installed; it is left out.",
                signal.upper(),
                chosen,
            )


def _otlp_exporter(signal: str) -> str:
    for variable in (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ):
        protocol = os.environ.get(variable, "").strip()
        if protocol in _PROTOCOLS:
            return _PROTOCOLS[protocol]
        if protocol:
            logger.warning(
                "%s is %r; it can be grpc or http/protobuf. Using grpc.", variable, protocol
            )
            break
    return _PROTOCOLS["grpc"]


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

"""Which providers each signal goes to, and the instruments made from them."""

from __future__ import annotations

import threading
import time
from typing import Any

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import TracerProvider

from llm_cache_otel._version import __version__
from llm_cache_otel.emit import names
from llm_cache_otel.emit.gauges import Gauges
from llm_cache_otel.emit.log import Once
from llm_cache_otel.emit.metrics import Metrics
from llm_cache_otel.emit.pipeline import private_meter_provider, private_tracer_provider
from llm_cache_otel.emit.spans import Spans
from llm_cache_otel.guard import Guard


class Signals:
    """Spans and metrics of one pair of providers."""

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        self._providers: tuple[Any, Any] = (tracer_provider, meter_provider)
        tracer = tracer_provider.get_tracer(names.SCOPE, __version__, names.SCHEMA_URL)
        meter = meter_provider.get_meter(names.SCOPE, __version__, names.SCHEMA_URL)
        self.spans = Spans(tracer)
        self.metrics = Metrics(meter)
        self.guard = Guard(self._report_error)
        self.once = Once()
        self.gauges = Gauges(meter, self.guard)

    def _report_error(self, where: str, error: Exception) -> None:
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        self.metrics.count_error(where, name)
        # The message stays unsaid: it may quote what the host was working on.
        self.once.warn(
            ("instrumentation", where, name),
            f"llm-cache-otel swallowed an error of its own ({name} in '{where}'); the program is not "
            "affected. Please report it.",
        )

    def flush(self, timeout: float) -> bool:
        """Send what has been recorded; `False` if not all was sent within `timeout` seconds.

        The SDK's own flushing has no deadline, so it runs in threads that are waited for.
        """
        results: list[bool] = []
        threads = [
            threading.Thread(target=_flush, args=(provider, timeout, results), daemon=True)
            for provider in self._providers
            if hasattr(provider, "force_flush")
        ]
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return len(results) == len(threads) and all(results)


def _flush(provider: Any, timeout: float, results: list[bool]) -> None:
    results.append(bool(provider.force_flush(int(timeout * 1000))))


class PrivateProviders:
    """This process's own pipeline, each signal built when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tracer_provider: TracerProvider | None = None
        self._meter_provider: MeterProvider | None = None

    def tracer_provider(self, resource: Resource | None, exit_timeout: float) -> TracerProvider:
        with self._lock:
            if self._tracer_provider is None:
                self._tracer_provider = private_tracer_provider(resource, exit_timeout)
            return self._tracer_provider

    def meter_provider(self, resource: Resource | None, exit_timeout: float) -> MeterProvider:
        with self._lock:
            if self._meter_provider is None:
                self._meter_provider = private_meter_provider(resource, exit_timeout)
            return self._meter_provider


_private = PrivateProviders()


def resolve_providers(
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    exit_timeout: float,
) -> tuple[TracerProvider, MeterProvider]:
    """Each signal by itself: the one passed in, else the application's global one, else ours.

    A private provider describes its origin with the other signal's resource, where that has one.
    """
    tracers = tracer_provider or _global_tracer_provider()
    meters = meter_provider or _global_meter_provider()
    if tracers is None:
        tracers = _private.tracer_provider(_resource_of(meters), exit_timeout)
    if meters is None:
        meters = _private.meter_provider(_resource_of(tracers), exit_timeout)
    return tracers, meters


def _global_tracer_provider() -> TracerProvider | None:
    # Not get_tracer_provider(): with OTEL_PYTHON_TRACER_PROVIDER set it would install a global.
    return getattr(trace_api, "_TRACER_PROVIDER", None)


def _global_meter_provider() -> MeterProvider | None:
    return getattr(metrics_api._internal, "_METER_PROVIDER", None)


def _resource_of(provider: object) -> Resource | None:
    resource = getattr(provider, "resource", None)
    if resource is None:  # the SDK's MeterProvider keeps it in its configuration
        resource = getattr(getattr(provider, "_sdk_config", None), "resource", None)
    return resource if isinstance(resource, Resource) else None

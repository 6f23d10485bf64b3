"""The reporters of this process."""

from __future__ import annotations

from weakref import WeakValueDictionary

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from llm_cache_otel import forks
from llm_cache_otel.emit.log import logger
from llm_cache_otel.emit.signals import flush_routes
from llm_cache_otel.guard import Guard
from llm_cache_otel.reporter import Reporter
from llm_cache_otel.settings import Settings


class Reporters:
    """One reporter for each set of providers and settings, so that clients share what it knows."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        # Weak, for the clients hold theirs: providers that nobody uses any more are let go.
        self._made: WeakValueDictionary[tuple[object, ...], Reporter] = WeakValueDictionary()

    def get(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        settings: Settings,
    ) -> Reporter:
        with self._lock:
            key = (id(tracer_provider), id(meter_provider), settings)
            reporter = self._made.get(key)
            if reporter is None:
                reporter = Reporter(tracer_provider, meter_provider, settings)
                self._made[key] = reporter
        reporter.route.prepare()
        return reporter

    def flush(self, timeout: float) -> bool:
        with self._lock:
            routes = [reporter.route for reporter in self._made.values()]
        with _guard("flush"):
            return flush_routes(routes, timeout)
        return False


_guard = Guard(lambda where, _: logger.debug("%s() failed", where, exc_info=True))
reporters = Reporters()

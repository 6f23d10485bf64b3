"""Which provider each signal goes to at a time, and what is said through it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import TracerProvider

from llm_cache_otel import forks
from llm_cache_otel.emit.gauges import Inventory
from llm_cache_otel.emit.log import logger, warn_once
from llm_cache_otel.emit.metrics import Metrics
from llm_cache_otel.emit.pipeline.ending import wait_for_endings
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.emit.pipeline.flushing import flush_providers
from llm_cache_otel.emit.pipeline.private import (
    NO_METRICS,
    NO_TRACES,
    import_pipeline,
    private_providers,
    warn_of_failure,
)
from llm_cache_otel.emit.spans import Spans
from llm_cache_otel.later import later

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Signals:
    """What a call is said through, from its beginning to its end, in the process that it began in."""

    spans: Spans
    metrics: Metrics
    generation: int

    @property
    def are_ours(self) -> bool:
        """Whether they belong to this process, and not to one that it was forked from."""
        return self.generation == forks.generation


class Route:
    """Where telemetry goes: each signal by itself to the provider passed in, else to the application's
    own global one, whenever it sets it, else to a private one of ours until then. Thread-safe.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        exit_timeout: float,
        inventory: Inventory,
    ) -> None:
        self._tracer_provider = _unless_proxy(tracer_provider)
        self._meter_provider = _unless_proxy(meter_provider)
        self._exit_timeout = exit_timeout
        self._inventory = inventory
        self._globals: tuple[object, object] = (None, None)
        self._signals: Signals | None = None

    def signals(self) -> Signals:
        """What a call that begins now is said through."""
        signals = self._signals
        tracers, meters = self._globals
        if (
            signals is not None
            and signals.generation == forks.generation
            and tracers is trace_api._TRACER_PROVIDER
            and meters is metrics_api._internal._METER_PROVIDER
        ):
            return signals
        return self._resolve()

    def prepare(self) -> None:
        """Have ready what the first call would wait for: providers, or the modules that ours take."""
        missing: list[Signal] = []
        if (self._tracer_provider or trace_api._TRACER_PROVIDER) is None:
            missing.append("traces")
        if (self._meter_provider or metrics_api._internal._METER_PROVIDER) is None:
            missing.append("metrics")
        for signal in missing:
            import_pipeline(signal)
        if not missing:
            self.signals()

    @property
    def resolved(self) -> Signals | None:
        """What the last call was said through; `None` before the first, and in a forked child's."""
        signals = self._signals
        return signals if signals is not None and signals.are_ours else None

    def _resolve(self) -> Signals:
        with _resolving:
            before = self._signals
            # Not get_tracer_provider(): with OTEL_PYTHON_TRACER_PROVIDER set it would install a global.
            known = trace_api._TRACER_PROVIDER, metrics_api._internal._METER_PROVIDER
            tracers, meters = self._providers(*known)
            if before is None or before.spans.provider is not tracers:
                logger.info("traces go to %s", _described(tracers))
            if before is None or before.metrics.provider is not meters:
                logger.info("metrics go to %s", _described(meters))
            elif not before.are_ours:
                self._warn_of_inherited_counts(meters)
            signals = Signals(_spans(tracers), _metrics(meters), forks.generation)
            signals.metrics.gauges.include(self._inventory)
            self._signals, self._globals = signals, known
            return signals

    def _providers(
        self, global_tracers: Any, global_meters: Any
    ) -> tuple[TracerProvider, MeterProvider]:
        """A private one says where it comes from as the other signal does, where that is not ours."""
        tracers = self._tracer_provider or global_tracers
        meters = self._meter_provider or global_meters
        private, timeout = private_providers(), self._exit_timeout
        return (
            tracers or private.tracer_provider(_resource_of(meters), timeout),
            meters or private.meter_provider(_resource_of(tracers), timeout),
        )

    def _warn_of_inherited_counts(self, meters: MeterProvider) -> None:
        if hasattr(meters, "force_flush"):
            warn_once(
                "inherited counts",
                "This process was forked after calls were counted through the application's own meter "
                "provider, and exports its parent's counts again. Set up OpenTelemetry in each process, "
                "after the fork.",
            )


_resolving = forks.rlock()
# Whatever is said through one provider is said by one of these, for as long as somebody uses it.
_all_spans: WeakValueDictionary[int, Spans] = WeakValueDictionary()
_all_metrics: WeakValueDictionary[int, Metrics] = WeakValueDictionary()


def _spans(provider: TracerProvider) -> Spans:
    spans = _all_spans.get(id(provider))
    if spans is None:
        try:
            spans = _all_spans[id(provider)] = Spans(provider)
        except Exception as error:
            warn_of_failure("traces", error)
            return Spans(NO_TRACES)
        private_providers().end_with(spans, provider)
    return spans


def _metrics(provider: MeterProvider) -> Metrics:
    metrics = _all_metrics.get(id(provider))
    if metrics is None:
        try:
            metrics = _all_metrics[id(provider)] = Metrics(provider)
        except Exception as error:
            warn_of_failure("metrics", error)
            return Metrics(NO_METRICS)
        private_providers().end_with(metrics, provider)
    return metrics


def flush_routes(routes: Iterable[Route], timeout: float) -> bool:
    """Whether what was said through these routes is delivered within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    private = private_providers()
    failures = private.failures
    told = later.wait(timeout)
    resolved = [signals for signals in (route.resolved for route in routes) if signals is not None]
    providers: list[object] = [
        *(signals.spans.provider for signals in resolved),
        *(signals.metrics.provider for signals in resolved),
    ]
    late = flush_providers(providers, deadline)
    if any(private.is_one(provider) for provider in late) or not wait_for_endings(deadline):
        private.out_of_time()
        return False
    return told and not late and private.failures == failures


def _unless_proxy(provider: P | None) -> P | None:
    """The API's own stand-in means the application's provider, whenever it sets one."""
    ours = trace_api._PROXY_TRACER_PROVIDER, metrics_api._internal._PROXY_METER_PROVIDER
    return None if any(provider is proxy for proxy in ours) else provider


def _resource_of(provider: object) -> Resource | None:
    resource = getattr(provider, "resource", None)
    if resource is None:  # the SDK's MeterProvider keeps it in its configuration
        resource = getattr(getattr(provider, "_sdk_config", None), "resource", None)
    return resource if isinstance(resource, Resource) else None


def _described(provider: object) -> str:
    if any(provider is nowhere for nowhere in (NO_TRACES, NO_METRICS)):
        return "nowhere, as the OTEL_* variables say"
    if private_providers().is_one(provider):
        return "a pipeline of llm-cache-otel's own, as the OTEL_* variables say"
    return f"the application's {type(provider).__module__}.{type(provider).__qualname__}"

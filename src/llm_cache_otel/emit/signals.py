"""Which provider each signal goes to at a time, and what is said through it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import TracerProvider

from llm_cache_otel import forks
from llm_cache_otel.emit.gauges import Inventory
from llm_cache_otel.emit.log import Notes
from llm_cache_otel.emit.metrics import Metrics
from llm_cache_otel.emit.pipeline.ending import wait_for_endings
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.emit.pipeline.flushing import flush_providers
from llm_cache_otel.emit.pipeline.private import (
    NOWHERE,
    import_pipeline,
    note_failure,
    private_providers,
)
from llm_cache_otel.emit.spans import Spans
from llm_cache_otel.facts.fact import fact
from llm_cache_otel.later import later
from llm_cache_otel.outside import is_the_hosts

P = TypeVar("P")
S = TypeVar("S", Spans, Metrics)


@fact
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
        # Both: then whatever the application sets is nothing to this.
        self._is_given = None not in (self._tracer_provider, self._meter_provider)
        self._globals: tuple[object, object] = (None, None)
        self._signals: Signals | None = None
        self._generation: int | None = None  # in which calls have begun

    def signals(self) -> Signals:
        """What a call that begins now is said through."""
        signals = self._signals
        if signals is not None and self._generation == forks.generation:
            if self._is_given:
                return signals
            tracers, meters = self._globals
            if (
                tracers is trace_api._TRACER_PROVIDER
                and meters is metrics_api._internal._METER_PROVIDER
            ):
                return signals
        signals = self._resolve()
        later.ready()
        self._generation = forks.generation
        return signals

    def prepare(self) -> None:
        """Have ready what the first call would wait for: providers, or the modules that ours take."""
        tracers, meters = self._chosen(trace_api._TRACER_PROVIDER, _global_meter_provider())
        if tracers is None:
            import_pipeline("traces")
        if meters is None:
            import_pipeline("metrics")
        if tracers is not None and meters is not None:
            self._resolve()  # but no thread yet: the process may be about to fork

    @property
    def resolved(self) -> Signals | None:
        """What the last call was said through; `None` before the first, and in a forked child's."""
        signals = self._signals
        return signals if signals is not None and signals.are_ours else None

    def _resolve(self) -> Signals:
        notes = Notes()
        try:
            with _resolving:
                # Held until the end, or what is chosen here could be shut down before it is used.
                _known = [*_all_spans.values(), *_all_metrics.values()]
                # Not get_tracer_provider(): where a variable names a provider, it would install a global.
                known = trace_api._TRACER_PROVIDER, _global_meter_provider()
                tracers, meters = self._providers(*self._chosen(*known), notes)
                self._note_changes(tracers, meters, notes)
                spans = _speaker(_all_spans, Spans, tracers, "traces", notes)
                metrics = _speaker(_all_metrics, Metrics, meters, "metrics", notes)
                metrics.gauges.include(self._inventory)
                signals = Signals(spans, metrics, forks.generation)
                self._signals, self._globals = signals, known
                return signals
        finally:
            notes.log()

    def _chosen(
        self, tracers: TracerProvider | None, meters: MeterProvider | None
    ) -> tuple[TracerProvider | None, MeterProvider | None]:
        """The providers passed in, before these global ones."""
        return (
            tracers if self._tracer_provider is None else self._tracer_provider,
            meters if self._meter_provider is None else self._meter_provider,
        )

    def _providers(
        self, tracers: TracerProvider | None, meters: MeterProvider | None, notes: Notes
    ) -> tuple[TracerProvider, MeterProvider]:
        """A private one says where it comes from as the other signal does, where that is not ours."""
        private, timeout = private_providers(), self._exit_timeout
        resources = _resource_of(tracers), _resource_of(meters)
        if tracers is None:
            tracers = private.provider("traces", resources[1], timeout, notes)
        if meters is None:
            meters = private.provider("metrics", resources[0], timeout, notes)
        return tracers, meters

    def _note_changes(self, tracers: object, meters: object, notes: Notes) -> None:
        before = self._signals
        if before is None or before.spans.provider is not tracers:
            notes.info(f"traces go to {_described(tracers, self._tracer_provider)}")
        if before is None or before.metrics.provider is not meters:
            notes.info(f"metrics go to {_described(meters, self._meter_provider)}")
        elif not before.are_ours and hasattr(meters, "force_flush"):
            notes.warn_once(
                "inherited counts",
                "This process was forked after calls were counted through the application's own meter "
                "provider, and exports its parent's counts again. Set up OpenTelemetry in each process, "
                "after the fork; or, under opentelemetry-instrument, do without opentelemetry-distro.",
            )


def _global_meter_provider() -> MeterProvider | None:
    return metrics_api._internal._METER_PROVIDER


_resolving = forks.lock()
# Whatever is said through a provider is said by one of these, for as long as somebody uses it.
_all_spans: WeakValueDictionary[int, Spans] = WeakValueDictionary()
_all_metrics: WeakValueDictionary[int, Metrics] = WeakValueDictionary()


def _speaker(
    all_speakers: WeakValueDictionary[int, S],
    kind: Callable[..., S],
    provider: Any,
    signal: Signal,
    notes: Notes,
) -> S:
    speaker = all_speakers.get(id(provider))
    if speaker is None:
        try:
            alone = private_providers().is_one(provider)
            speaker = all_speakers[id(provider)] = kind(provider, alone=alone)
        except Exception as error:
            if is_the_hosts(error):
                raise
            note_failure(signal, error, notes)
            return kind(NOWHERE[signal])
        with contextlib.suppress(Exception):
            later.come_first_at_exit()
        private_providers().end_with(speaker, provider)
    return speaker


def flush_routes(routes: Iterable[Route], timeout: float) -> bool:
    """Whether what was said through these routes is delivered within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    private = private_providers()
    failures = private.failures
    told = later.flush(timeout)
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


def _described(provider: object, given: object) -> str:
    if provider is given:
        return "the provider given to instrument()"
    if any(provider is nowhere for nowhere in NOWHERE.values()):
        return "nowhere, as the OTEL_* variables say"
    if private_providers().is_one(provider):
        return "a pipeline of llm-cache-otel's own, as the OTEL_* variables say"
    return f"the application's {type(provider).__qualname__}"

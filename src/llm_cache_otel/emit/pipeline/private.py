"""The private providers of this process, each built when something is first to be said through it."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NoOpTracerProvider

from llm_cache_otel import forks
from llm_cache_otel.emit.environment import problems
from llm_cache_otel.emit.log import Notes
from llm_cache_otel.emit.pipeline.ending import Ending
from llm_cache_otel.emit.pipeline.exporters import DisturbedFork
from llm_cache_otel.emit.pipeline.fallbacks import Signal
from llm_cache_otel.emit.pipeline.hush import hushed_sdk
from llm_cache_otel.guard import Guard
from llm_cache_otel.later import later
from llm_cache_otel.outside import is_the_hosts

if TYPE_CHECKING:
    from llm_cache_otel.emit.pipeline.build import Pipeline

NOWHERE: dict[Signal, Any] = {"traces": NoOpTracerProvider(), "metrics": NoOpMeterProvider()}
"""Providers to say something through where there is nothing to export to."""

_PATIENCE = 0.2
_guard = Guard(lambda where, error: None)

_Key = tuple[Signal, Resource | None]


class PrivateProviders:
    """One provider for each signal and resource. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.generation = forks.generation
        self._pipeline: Pipeline | None = None
        self._built: dict[_Key, tuple[Any, Ending | None]] = {}
        forks.pause_for_forks(self)

    def pause(self, deadline: float) -> bool:
        """Let what another thread is building be built before this process forks, if it is done soon."""
        patience = min(_PATIENCE, max(0.0, deadline - time.monotonic()))
        self._lock.acquire(timeout=patience)
        return True

    def resume(self) -> None:
        forks.let_go(self._lock)

    def end(self) -> None: ...

    @property
    def failures(self) -> int:
        """How often something could not be delivered, after the exporter had tried again."""
        return 0 if self._pipeline is None else self._pipeline.outages.failures

    def out_of_time(self) -> None:
        """What is to be sent by now is not."""
        if self._pipeline is not None:
            self._pipeline.outages.out_of_time()

    def provider(
        self, signal: Signal, resource: Resource | None, exit_timeout: float, notes: Notes
    ) -> Any:
        """A tracer provider or a meter provider, described by `resource` or else by the variables."""
        with self._lock:
            key = (signal, resource)
            if key not in self._built:
                self._built[key] = NOWHERE[signal], None
                try:
                    provider = self._build(signal, resource, notes)
                    if provider is not None:
                        self._built[key] = (
                            provider,
                            Ending(provider, exit_timeout, self.out_of_time),
                        )
                except BaseException as error:
                    if is_the_hosts(error):
                        del self._built[key]  # which is no reason not to build it another time
                        raise
                    note_failure(signal, error, notes)
            return self._built[key][0]

    def _build(self, signal: Signal, resource: Resource | None, notes: Notes) -> Any:
        with hushed_sdk():
            if self._pipeline is None:
                found = problems(os.environ)
                for problem in found:
                    notes.warn_once(problem.variable, problem.text)
                # Imported here, for with a variable's bad value the SDK can't be.
                from llm_cache_otel.emit.pipeline.build import Pipeline

                self._pipeline = Pipeline({problem.variable for problem in found})
            traces = signal == "traces"
            build = self._pipeline.tracer_provider if traces else self._pipeline.meter_provider
            return build(resource, notes)

    def is_one(self, provider: object) -> bool:
        return any(ours is provider for ours, ending in self._built.copy().values() if ending)

    def end_with(self, speaker: object, provider: object) -> None:
        """Shut `provider` down, if it is one of ours, when nothing holds `speaker` any more."""
        for key, (ours, ending) in self._built.copy().items():
            if ours is provider and ending is not None:
                weakref.finalize(speaker, self._end, key, ending).atexit = False

    def _end(self, key: _Key, ending: Ending) -> None:
        if self.generation == forks.generation:
            self._built.pop(key, None)
        # Whatever dropped the speaker, a garbage collection perhaps, may hold any lock. And what a finalizer
        # raises Python tells the host of.
        with contextlib.suppress(Exception):
            later.put(ending.begin)


def import_pipeline(signal: Signal) -> None:
    """Import what building a provider takes; what is wrong with that is told when it is built."""
    with _guard("import"), hushed_sdk():
        from llm_cache_otel.emit.pipeline.build import import_exporters

        import_exporters(signal)


def note_failure(signal: Signal, error: BaseException, notes: Notes) -> None:
    # Most messages may quote what the variables hold, headers among them.
    why = str(error) if isinstance(error, DisturbedFork) else type(error).__qualname__
    notes.warn_once(
        (signal, type(error)),
        f"llm-cache-otel can't export {signal} ({why}), and goes on without them. "
        "`llm-cache-otel doctor` finds out why; the logger's DEBUG level has the details.",
    )
    notes.debug(f"there is no provider for {signal}", error)


_lock = forks.lock()
_providers = PrivateProviders()
_inherited: list[PrivateProviders] = []
"""A parent's. They are kept: to let go of them would close connections that are the parent's."""


def private_providers() -> PrivateProviders:
    global _providers  # noqa: PLW0603
    if _providers.generation != forks.generation:
        with _lock:
            if _providers.generation != forks.generation:
                _inherited.append(_providers)
                _providers = PrivateProviders()
    return _providers

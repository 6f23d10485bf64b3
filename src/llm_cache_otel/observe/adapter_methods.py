"""Observing a cache adapter by itself: every `get` and `set`, whoever calls them.

The adapter is never changed. Its class's methods are wrapped, and pass straight through for every
instance but those that were handed in.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import wrapt

from llm_cache_otel.facts import Opening, Operation, Scope, SpanRole
from llm_cache_otel.observe import adapter
from llm_cache_otel.observe.backend import BackendStep, is_busy
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.step import Clock, Observing

_ROLES = {Operation.GET: SpanRole.LOOKUP, Operation.SET: SpanRole.STORE}


@dataclass(frozen=True)
class ObservedAdapter:
    """An adapter that was handed in. Told apart by identity: an adapter may define `__eq__`."""

    cache: weakref.ref[Any]
    reporter: Reporter
    backend: str
    name: str | None


class AdapterMethods:
    """The observed adapters of this process, and the wrapped classes behind them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._observed: dict[int, ObservedAdapter] = {}
        self._classes: dict[type, ExitStack] = {}

    def get(self, cache: object) -> ObservedAdapter | None:
        observed = self._observed.get(id(cache))
        return observed if observed is not None and observed.cache() is cache else None

    def add(self, cache: Any, reporter: Reporter, name: str | None) -> None:
        identity = id(cache)
        backend = adapter.backend_of(cache)
        reference = weakref.ref(cache, lambda _: self._observed.pop(identity, None))
        with self._lock:
            self._observed[identity] = ObservedAdapter(reference, reporter, backend, name)
            self._wrap(type(cache))
        adapter.watch_size(reporter, cache, backend, name)

    def remove(self, cache: object) -> None:
        with self._lock:
            self._observed.pop(id(cache), None)
            kinds = {type(observed.cache()) for observed in self._observed.values()}
            for kind in [kind for kind in self._classes if kind not in kinds]:
                self._classes.pop(kind).close()

    def _wrap(self, kind: type) -> None:
        if kind in self._classes:
            return
        self._classes[kind] = undo = ExitStack()
        for operation in Operation:
            undo.callback(self._wrap_method(kind, operation))

    def _wrap_method(self, kind: type, operation: Operation) -> Callable[[], None]:
        inherited = operation.value not in vars(kind)
        original = getattr(kind, operation) if inherited else vars(kind)[operation]

        def method(
            wrapped: Callable[..., Any], cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            observed = self.get(cache)
            if observed is None or is_busy(cache):
                return wrapped(*args, **kwargs)
            make = lambda: _step(operation, observed, cache, (args, kwargs))
            with Observing(observed.reporter.guard, f"cache {operation}", make) as seen:
                value = wrapped(*args, **kwargs)
            return seen.returned(value)

        ours = wrapt.FunctionWrapper(original, method)
        setattr(kind, operation, ours)

        def undo() -> None:
            # Somebody who wrapped ours keeps what they have: ours passes through by then.
            if vars(kind).get(operation) is not ours:
                return
            if inherited:
                delattr(kind, operation)
            else:
                setattr(kind, operation, original)

        return undo


def _step(
    operation: Operation,
    observed: ObservedAdapter,
    cache: object,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
) -> BackendStep:
    def open_scope(start_ns: int) -> Scope:
        return observed.reporter.open(Opening(_ROLES[operation], start_ns))

    return BackendStep(
        operation,
        cache,
        arguments,
        backend=observed.backend,
        name=observed.name,
        clock=Clock(),
        done=observed.reporter.finished,
        open_scope=open_scope,
    )


adapter_methods = AdapterMethods()

"""Observing a cache adapter by itself: every `get` and `set`, whoever calls them.

The adapter is never changed. Its class's methods are wrapped, and pass straight through for every
instance but those that were handed in.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import Opening, Operation, Scope, SpanRole
from llm_cache_otel.observe import adapter
from llm_cache_otel.observe.backend import BackendStep, is_busy
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.step import Clock, Observing

Method = tuple[type, Operation]
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
        self._lock = forks.lock()
        self._observed: dict[int, ObservedAdapter] = {}
        self._undo: dict[Method, Callable[[], None]] = {}

    def get(self, cache: object) -> ObservedAdapter | None:
        observed = self._observed.get(id(cache))
        return observed if observed is not None and observed.cache() is cache else None

    def add(self, cache: Any, reporter: Reporter, name: str | None) -> None:
        identity = id(cache)
        backend = adapter.backend_of(cache)
        reference = weakref.ref(cache, lambda _: self._observed.pop(identity, None))
        with self._lock:
            self._observed[identity] = ObservedAdapter(reference, reporter, backend, name)
            for method in _methods_of(cache):
                if method not in self._undo:
                    self._undo[method] = self._wrap(*method)
        adapter.watch_size(reporter, cache, backend, name)

    def remove(self, cache: object) -> None:
        with self._lock:
            self._observed.pop(id(cache), None)
            # A copy: adapters that are dropped meanwhile take themselves out.
            left = [observed.cache() for observed in self._observed.copy().values()]
            needed = {method for kept in left for method in _methods_of(kept)}
            for method in [method for method in self._undo if method not in needed]:
                self._undo.pop(method)()

    def _wrap(self, kind: type, operation: Operation) -> Callable[[], None]:
        original = vars(kind)[operation]

        # A plain function, for bound methods of it can be pickled and copied as before.
        @functools.wraps(original)
        def method(cache: Any, *args: Any, **kwargs: Any) -> Any:
            observed = self.get(cache)
            if observed is None or is_busy(cache):
                return original(cache, *args, **kwargs)
            make = lambda: _step(operation, observed, cache, (args, kwargs))
            with Observing(observed.reporter.guard, f"cache {operation}", make) as seen:
                value = original(cache, *args, **kwargs)
            return seen.returned(value)

        setattr(kind, operation, method)

        def undo() -> None:
            # Somebody who wrapped ours keeps what they have: ours passes through by then.
            if vars(kind).get(operation) is method:
                setattr(kind, operation, original)

        return undo


def _methods_of(cache: object) -> list[Method]:
    """The plain functions behind an adapter's `get` and `set`, each with the class that defines it.

    Some descriptor of the class's own is left alone, and not observed.
    """
    owners = [
        (next((kind for kind in type(cache).__mro__ if operation in vars(kind)), object), operation)
        for operation in Operation
    ]
    return [
        (kind, operation)
        for kind, operation in owners
        if inspect.isfunction(vars(kind).get(operation))
    ]


def _step(
    operation: Operation,
    observed: ObservedAdapter,
    cache: object,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
) -> BackendStep | None:
    if observed.reporter.is_suppressed():
        return None

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

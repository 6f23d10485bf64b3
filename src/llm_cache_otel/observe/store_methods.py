"""Observing a cache adapter or a backend's client by itself: every `get` and `set`, whoever calls them.

The store is never changed. Its class's methods are wrapped, and pass straight through for every
instance but those that were handed in.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import BackendFacts, Operation, Scope, SpanRole
from llm_cache_otel.observe import adapter
from llm_cache_otel.observe.backend import BackendStep, is_busy
from llm_cache_otel.observe.clock import Clock
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.step import NOWHERE, Observing, observe, surroundings
from llm_cache_otel.observe.stores import Method, is_async, methods_of

Place = tuple[type, str]
_ROLES = {Operation.GET: SpanRole.LOOKUP, Operation.SET: SpanRole.STORE}


@dataclass(frozen=True)
class ObservedStore:
    """A store that was handed in. Told apart by identity: it may define `__eq__`."""

    store: weakref.ref[Any]
    reporter: Reporter
    backend: str
    name: str | None
    is_async: bool


class StoreMethods:
    """The observed stores of this process, and the wrapped classes behind them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.observed: dict[int, ObservedStore] = {}
        self._undo: dict[Place, Callable[[], None]] = {}

    def get(self, store: object) -> ObservedStore | None:
        observed = self.observed.get(id(store))
        return observed if observed is not None and observed.store() is store else None

    def add(self, store: Any, reporter: Reporter, name: str | None) -> None:
        identity = id(store)
        traits = adapter.traits_of(store)
        reference = weakref.ref(store, lambda _: self.observed.pop(identity, None))
        observed = ObservedStore(reference, reporter, traits.backend, name, is_async(store))
        with self._lock:
            self.observed[identity] = observed
            for place, method in _places_of(store).items():
                if place not in self._undo:
                    self._undo[place] = self._wrap(*place, method)
        adapter.watch_size(reporter, store, traits, name)

    def remove(self, store: object) -> None:
        with self._lock:
            self.observed.pop(id(store), None)
            # A copy: stores that are dropped meanwhile take themselves out.
            left = [observed.store() for observed in self.observed.copy().values()]
            needed = {place for kept in left for place in _places_of(kept)}
            for place in [place for place in self._undo if place not in needed]:
                self._undo.pop(place)()

    def _wrap(self, kind: type, name: str, method: Method) -> Callable[[], None]:
        original = vars(kind)[name]

        # A plain function, for bound methods of it can be pickled and copied as before.
        @functools.wraps(original)
        def watched(store: Any, /, *args: Any, **kwargs: Any) -> Any:
            observed = self.get(store)
            if observed is None or is_busy(store):
                return original(store, *args, **kwargs)
            function = partial(original, store)
            return operate(observed, method, function, store, args, kwargs)

        setattr(kind, name, watched)

        def undo() -> None:
            # Somebody who wrapped ours keeps what they have: ours passes through by then.
            if vars(kind).get(name) is watched:
                setattr(kind, name, original)

        return undo


def operate(
    observed: ObservedStore | None,
    method: Method,
    function: Callable[..., Any],
    store: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """What `function(*args, **kwargs)` answers, which asks a store; observed, if it is to be.

    Of an async store it is to be awaited.
    """
    if observed is None:
        return function(*args, **kwargs)
    make = partial(_step, method, observed, store)
    guard, where = observed.reporter.guard, f"cache {method.operation}"
    if observed.is_async:
        seen = Observing(guard, where, partial(make, args, kwargs))
        return _awaited(function(*args, **kwargs), seen)
    return observe(guard, where, make, function, args, kwargs)


async def _awaited(answer: Awaitable[Any], observing: Observing) -> Any:
    try:
        with observing as seen:
            value = await answer
        return seen.returned(value)
    finally:
        if observing.is_inside:
            observing.leave()


def _places_of(store: object) -> dict[Place, Method]:
    """The plain functions behind a store's methods, each with the class that defines it.

    Some descriptor of the class's own is left alone, and not observed.
    """
    places: dict[Place, Method] = {}
    for name, method in (methods_of(store) or {}).items():
        kind = next((kind for kind in type(store).__mro__ if name in vars(kind)), object)
        if inspect.isfunction(vars(kind).get(name)):
            places[kind, name] = method
    return places


def _step(
    method: Method,
    observed: ObservedStore,
    store: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> BackendStep | None:
    asked = method.asked(args, kwargs)
    if observed.reporter.is_suppressed():
        return None
    listener = surroundings.get(NOWHERE).listener

    def open_scope(start_ns: int) -> Scope:
        return observed.reporter.open((_ROLES[method.operation], start_ns))

    def done(facts: BackendFacts, entry: Any, dropped: bool) -> None:  # noqa: FBT001  a Done
        if listener is None or not listener(store, asked.key, entry, facts):
            observed.reporter.finished(facts, dropped=dropped)

    return BackendStep(
        method.operation,
        store,
        asked,
        backend=observed.backend,
        name=observed.name,
        clock=Clock(),
        done=done,
        open_scope=open_scope,
    )


store_methods = StoreMethods()

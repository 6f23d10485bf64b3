"""One `get` or `set` of a cache adapter, timed."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

import wrapt

from llm_cache_otel.facts import BackendFacts, Interval, Operation, Scope
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.step import Clock, Observing, Surroundings

_busy: ContextVar[tuple[object, ...]] = ContextVar("llm_cache_otel_busy_caches", default=())
"""Caches whose `get` or `set` is being timed: an adapter that is observed by itself, or that calls
its parent class's method, is not counted twice."""


def is_busy(cache: object) -> bool:
    return any(busy is cache for busy in _busy.get())


class BackendStep:
    """Times one operation and hands its facts to `done`."""

    def __init__(
        self,
        operation: Operation,
        cache: object,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        *,
        backend: str,
        name: str | None,
        clock: Clock,
        done: Callable[[BackendFacts], None],
        open_scope: Callable[[int], Scope] | None = None,
    ) -> None:
        self._operation = operation
        self._cache = cache
        self._backend = backend
        self._name = name
        self._clock = clock
        self._done = done
        self._entry_size: int | None = None
        self._ttl: float | None = None
        if operation is Operation.SET:
            self._read_set(*arguments)
        self._token: Token[tuple[object, ...]] | None = None
        self._start_ns = clock.now()
        self._end_ns = self._start_ns
        self._scope = None if open_scope is None else open_scope(self._start_ns)
        self._surroundings = Surroundings(None, self._scope)

    def _read_set(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        value = args[1] if len(args) > 1 else kwargs.get("value")
        ttl = args[2] if len(args) > 2 else kwargs.get("ttl")
        self._entry_size = entry_size(value)
        self._ttl = ttl if isinstance(ttl, (int, float)) else None

    def enter(self) -> None:
        self._token = _busy.set((*_busy.get(), self._cache))
        self._surroundings.enter()
        self._start_ns = self._clock.now()

    def leave(self) -> None:
        self._end_ns = self._clock.now()
        self._surroundings.leave()
        if self._token is not None:
            _busy.reset(self._token)
            self._token = None

    def failed(self, error: BaseException) -> None:
        self._finish(hit=None, error=error)

    def returned(self, value: Any) -> None:
        hit = None
        if self._operation is Operation.GET:
            hit = value is not None
            self._entry_size = entry_size(value)
        self._finish(hit=hit, error=None)

    def _finish(self, *, hit: bool | None, error: BaseException | None) -> None:
        self._done(
            BackendFacts(
                operation=self._operation,
                interval=Interval(self._start_ns, self._end_ns),
                backend=self._backend,
                name=self._name,
                hit=hit,
                entry_size=self._entry_size,
                ttl=self._ttl,
                error_type=None if error is None else error_type(error),
                scope=self._scope,
            )
        )


class Tap(wrapt.BaseObjectProxy[Any]):
    """Stands in for the adapter while one of Instructor's helpers uses it, and is one for all who ask."""

    def __init__(self, cache: Any, guard: Guard, step: Callable[..., BackendStep]) -> None:
        super().__init__(cache)
        self._self_guard = guard
        self._self_step = step

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return _observed(self, Operation.GET, self.__wrapped__.get, args, kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return _observed(self, Operation.SET, self.__wrapped__.set, args, kwargs)


def _observed(
    tap: Tap,
    operation: Operation,
    method: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    make = lambda: tap._self_step(operation, tap.__wrapped__, (args, kwargs))
    with Observing(tap._self_guard, f"cache {operation}", make) as seen:
        value = method(*args, **kwargs)
    return seen.returned(value)

"""One `get` or `set` of a cache's store, timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from llm_cache_otel.facts import BackendFacts, Interval, Operation, Scope
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.adapter import entry_size
from llm_cache_otel.observe.clock import Clock
from llm_cache_otel.observe.errors import error_type, is_closing, is_interrupt
from llm_cache_otel.observe.step import NOWHERE, Surroundings, observe, surroundings
from llm_cache_otel.observe.stores import ADAPTER, Asked, Method

Done = Callable[[BackendFacts, Any, bool], None]
"""Takes what came of it, the entry that was found or stored, and whether a finalizer may be what tells."""


def is_busy(cache: object) -> bool:
    return any(busy is cache for busy in surroundings.get(NOWHERE).busy)


class BackendStep:
    """Times one operation and hands its facts to `done`."""

    def __init__(
        self,
        operation: Operation,
        cache: object,
        asked: Asked,
        *,
        backend: str,
        name: str | None,
        clock: Clock,
        done: Done,
        open_scope: Callable[[int], Scope] | None = None,
    ) -> None:
        self._asked_ns = clock.now()
        self._operation = operation
        self._backend = backend
        self._name = name
        self._clock = clock
        self._done = done
        self._asked = asked
        self._entry_size: int | None = None
        if operation is Operation.SET:
            self._entry_size = entry_size(asked.value)
        self._start_ns = clock.now()
        self._end_ns = self._start_ns
        self._scope = None if open_scope is None else open_scope(self._start_ns)
        self._surroundings = Surroundings(scope=self._scope, busy=cache)

    def enter(self) -> None:
        self._surroundings.enter()
        self._start_ns = self._clock.now()

    def leave(self) -> None:
        self._end_ns = self._clock.now()
        self._surroundings.leave()

    def failed(self, error: BaseException) -> None:
        if self._asked.or_raises and isinstance(error, KeyError):
            self._finish(hit=False, error=None)
        else:
            self._finish(hit=None, error=error)

    def returned(self, value: Any) -> None:
        if self._operation is Operation.SET:
            self._finish(hit=None, error=None, entry=self._asked.value)
            return
        self._entry_size = entry_size(value)
        entry = self._asked.entry_of(value)
        hit = entry is not self._asked.absent
        self._finish(hit=hit, error=None, entry=entry if hit else None)

    def _finish(self, *, hit: bool | None, error: BaseException | None, entry: Any = None) -> None:
        self._done(
            BackendFacts(
                operation=self._operation,
                interval=Interval(self._start_ns, self._end_ns),
                backend=self._backend,
                name=self._name,
                hit=hit,
                entry_size=self._entry_size,
                ttl=self._asked.ttl,
                error_type=None if error is None else error_type(error),
                interrupted=is_interrupt(error),
                asked_ns=self._asked_ns,
                scope=self._scope,
            ),
            entry,
            error is not None and is_closing(error),
        )


_GET, _SET = ADAPTER["get"], ADAPTER["set"]


class Tap(wrapt.BaseObjectProxy[Any]):
    """Stands in for the adapter while one of Instructor's helpers uses it, and is one for all who ask."""

    def __init__(self, cache: Any, guard: Guard, step: Callable[..., BackendStep]) -> None:
        super().__init__(cache)
        self._self_guard = guard
        self._self_step = step

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return _observed(self, _GET, "cache get", self.__wrapped__.get, args, kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return _observed(self, _SET, "cache set", self.__wrapped__.set, args, kwargs)


def _observed(
    tap: Tap,
    method: Method,
    where: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    make = lambda args, kwargs: tap._self_step(
        method.operation, tap.__wrapped__, method.asked(args, kwargs)
    )
    return observe(tap._self_guard, where, make, function, args, kwargs)

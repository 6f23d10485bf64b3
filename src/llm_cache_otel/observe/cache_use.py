"""Runs Instructor's helper that asks the cache, and sees how it does.

In memory nobody waits, and nobody else is asked: such a step is a part of its call's span, and what a hit
runs through is as few functions as can be. Any other has a span of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from llm_cache_otel.facts import BackendFacts, Operation
from llm_cache_otel.observe.backend import BackendStep, Tap
from llm_cache_otel.observe.errors import error_type
from llm_cache_otel.observe.lookup import Lookup, Store
from llm_cache_otel.observe.step import (
    NOWHERE,
    Given,
    Surroundings,
    observe,
    step_back,
    step_out,
    surroundings,
)
from llm_cache_otel.observe.store_methods import store_methods
from llm_cache_otel.observe.stores import Asked

if TYPE_CHECKING:
    from llm_cache_otel.observe.call import Call

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def asking(kind: type[Lookup | Store]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The seam of a helper of Instructor's that is given the cache first."""

    def seam(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            call = surroundings.get(NOWHERE).call
            if call is None or not args:
                return wrapped(*args, **kwargs)
            # It may be observed by itself since the call began.
            if call.asks_nobody and id(args[0]) not in store_methods.observed:
                return _in_memory(kind(), call, wrapped, args, kwargs)
            make = partial(_CacheStep, kind(), call)
            return observe(call.reporter.guard, kind.where, make, wrapped, args, kwargs)

        return ask

    return seam


def _in_memory(
    use: Lookup | Store, call: Call, wrapped: Callable[..., Any], args: Args, kwargs: Kwargs
) -> Any:
    """As `observe`, in one function where that takes five."""
    token = result = failure = None
    try:
        tap = MemoryTap(args[0])
        tap._self_use = use
        token = step_out(call)
        args = (tap, *args[1:])
    except Exception as error:
        if not call.reporter.guard.swallows(use.where, error):
            raise
    use.start = time.perf_counter_ns()
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        failure = error
        raise
    finally:
        use.end = time.perf_counter_ns()
        step_back(token)
        try:
            asked = use.in_memory
            if asked is not None and isinstance(asked[4], BaseException):
                use.in_memory = *asked[:4], error_type(asked[4])
            if failure is None:
                use.returned(call, args, result)
            else:
                use.failed(call, args, failure)
        except Exception as error:
            if not call.reporter.guard.swallows(use.where, error):
                raise
        asked = failure = None  # no cycle
    return result


class MemoryTap(wrapt.BaseObjectProxy[Any]):
    """Stands in for a cache that finds what it holds and asks nobody: when it did is all there is to see.

    It notes that in `_self_use`, which is told after it is made: one `__init__` less for a hit to run.
    """

    _self_use: Lookup | Store

    def get(self, *args: Any, **kwargs: Any) -> Any:
        value = failure = None
        function = self.__wrapped__.get
        start = time.perf_counter_ns()
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            failure = error
            raise
        finally:
            end = time.perf_counter_ns()
            self._self_use.in_memory = start, end, Operation.GET, value, failure
            failure = None  # no cycle
        return value

    def set(self, *args: Any, **kwargs: Any) -> Any:
        failure = None
        function = self.__wrapped__.set
        start = time.perf_counter_ns()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failure = error
            raise
        finally:
            end = time.perf_counter_ns()
            self._self_use.in_memory = start, end, Operation.SET, (args, kwargs), failure
            failure = None  # no cycle


class _CacheStep:
    """A span around the helper, and a tapped adapter in it.

    A cache in memory that is observed by itself has no span there: it is a part of the call's.
    """

    def __init__(self, use: Lookup | Store, call: Call, args: Args, kwargs: Kwargs) -> None:
        use.start = use.end = time.perf_counter_ns()
        self._use = use
        self._call: Call | None = call
        self._args, self._kwargs = args, kwargs
        traits = call.traits
        if traits is None or not traits.is_plain_auto:
            start_ns = call.clock.at(use.began(call))
            use.scope = call.reporter.open((use.role, start_ns), call.scope)
        self._surroundings = Surroundings(scope=use.scope)

    def enter(self) -> Given:
        """The arguments with what Instructor's helper is to use in the cache's place."""
        call, args = self._call, self._args
        assert call is not None
        self._surroundings.enter()
        tap = Tap(args[0], call.reporter.guard, self._backend_step)
        return (tap, *args[1:]), self._kwargs

    def leave(self) -> None:
        self._use.end = time.perf_counter_ns()
        self._surroundings.leave()

    def failed(self, error: BaseException) -> None:
        call, args = self._over()
        if call is not None:
            self._use.failed(call, args, error)

    def returned(self, result: Any) -> None:
        call, args = self._over()
        if call is not None:
            self._use.returned(call, args, result)

    def _over(self) -> tuple[Call | None, Args]:
        """Of the host's nothing is held on to, and there is no cycle."""
        call, args = self._call, self._args
        self._call, self._args, self._kwargs = None, (), {}
        return call, args

    def _backend_step(self, operation: Operation, cache: object, asked: Asked) -> BackendStep:
        call = self._call
        assert call is not None
        return BackendStep(
            operation,
            cache,
            asked,
            backend=call.backend or "",
            name=call.name,
            clock=call.clock,
            done=self._backend_done,
        )

    def _backend_done(self, facts: BackendFacts, entry: Any, dropped: bool) -> None:  # noqa: FBT001
        self._use.asked = facts

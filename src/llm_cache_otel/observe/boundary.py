"""The boundary around a client's `create`: one wrapper, sync and async twins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, SupportsIndex

import wrapt

from llm_cache_otel.observe.call import Call, Target, Watch
from llm_cache_otel.observe.step import NOWHERE, Observing, Step, Unobserved, surroundings

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class ObservedCreate(wrapt.FunctionWrapper[..., Any]):
    """A `create` function that is observed; to everybody who asks, still the function it wraps.

    `client_cache_identity` reads `__self__` and closures of what it is given, so anything less than a
    transparent proxy would change the cache keys. Once switched off it passes straight through.
    """

    def __init__(self, create: Callable[..., Any], target: Target, *, asynchronous: bool) -> None:
        """`create` may be observed for another target: then it is not, for as long as it is for this."""
        beneath, create = create, bare(create)
        wrapper = _async_wrapper(target) if asynchronous else _sync_wrapper(target)
        if asynchronous:  # or warnings and tasks would name our coroutine
            wrapper.__name__ = getattr(create, "__name__", wrapper.__name__)
            wrapper.__qualname__ = getattr(create, "__qualname__", wrapper.__qualname__)
        super().__init__(create, wrapper, enabled=target.watch.is_on)
        self._self_watch = target.watch
        self._self_beneath = beneath

    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__wrapped__  # as for any function

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if inspect.isfunction(self.__wrapped__):
            return self.__wrapped__.__qualname__  # by name, as any function
        return self.__wrapped__.__reduce_ex__(protocol)

    @property
    def watch(self) -> Watch:
        return self._self_watch

    @property
    def beneath(self) -> Any:
        """What is to be put back: the function, or what else observes it still."""
        beneath = self._self_beneath
        if type(beneath) is ObservedCreate and not beneath.watch.on:
            return beneath.beneath
        return beneath


def bare(create: Any) -> Any:
    """What is left of a `create` without the watching that it may have been handed out with."""
    while type(create) is ObservedCreate:
        create = create.__wrapped__
    return create


def _step(target: Target, args: Args, kwargs: Kwargs) -> Step | None:
    around = surroundings.get(NOWHERE).call
    if around is not None and around.is_over:
        around.leave()  # which an interrupt has prevented
    elif around is not None and around.is_of(args, kwargs):
        return None
    if target.watch.reporter.is_suppressed():
        return Unobserved()
    return Call(target, args, kwargs)


def _sync_wrapper(target: Target) -> Callable[..., Any]:
    def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        seen = Observing(target.watch.reporter.guard, "create", lambda: _step(target, args, kwargs))
        try:
            with seen:
                result = wrapped(*args, **kwargs)
            return seen.returned(result)
        finally:
            if seen.is_inside:
                seen.leave()

    return create


def _async_wrapper(target: Target) -> Callable[..., Any]:
    async def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        seen = Observing(target.watch.reporter.guard, "create", lambda: _step(target, args, kwargs))
        try:
            with seen:
                result = await wrapped(*args, **kwargs)
            return seen.returned(result)
        finally:
            if seen.is_inside:
                seen.leave()

    return create

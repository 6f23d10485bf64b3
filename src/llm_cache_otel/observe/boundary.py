"""The boundary around a client's `create`: one wrapper, sync and async twins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, SupportsIndex

import wrapt

from llm_cache_otel.observe.call import Call
from llm_cache_otel.observe.step import NOWHERE, Observing, Step, Unobserved, observe, surroundings
from llm_cache_otel.observe.target import Target, Watch

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Wrapper = Callable[[Callable[..., Any], Any, Args, Kwargs], Any]
"""As wrapt calls it."""

Watching = tuple[Wrapper, Callable[[], bool] | None]
"""And whom it asks before, whether it is to."""


class ObservedCreate(wrapt.FunctionWrapper[..., Any]):
    """A `create` function that is observed; to everybody who asks, still the function it wraps.

    `client_cache_identity` reads `__self__` and closures of what it is given, so anything less than a
    transparent proxy would change the cache keys. Once switched off it passes straight through.
    """

    _self_beneath: Any = None

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
        wrapper: Any = self._self_wrapper
        watch: Watch = wrapper.watch
        return watch

    @property
    def beneath(self) -> Any:
        """What is to be put back: the function, or what else observes it still."""
        beneath = self._self_beneath
        if beneath is None:
            return self.__wrapped__
        if type(beneath) is ObservedCreate and not beneath.watch.on:
            return beneath.beneath
        return beneath


def bare(create: Any) -> Any:
    """What is left of a `create` without the watching that it may have been handed out with."""
    while type(create) is ObservedCreate:
        create = create.__wrapped__
    return create


def observed(create: Callable[..., Any], target: Target, *, asynchronous: bool) -> ObservedCreate:
    """`create` may be observed for another target: then it is not, for as long as it is for this."""
    inner = bare(create)
    made = ObservedCreate(inner, *watching(target, inner, asynchronous=asynchronous))
    if inner is not create:
        made._self_beneath = create
    return made


def watching(target: Target, create: Any, *, asynchronous: bool) -> Watching:
    """What a `create` is to be observed with for a target."""
    wrapper: Any = _async_wrapper(target) if asynchronous else _sync_wrapper(target)
    wrapper.watch = target.watch  # there, for it is made once and an `ObservedCreate` for each call
    if asynchronous:  # or warnings and tasks would name our coroutine
        for name in ("__name__", "__qualname__"):
            setattr(wrapper, name, getattr(create, name, getattr(wrapper, name)))
    # Of a coroutine function that is switched off, the coroutine must be its own.
    return wrapper, target.watch.is_on if asynchronous else None


def _stepping(target: Target) -> Callable[[Args, Kwargs], Step | None]:
    watch = target.watch

    def step(args: Args, kwargs: Kwargs) -> Step | None:
        around = surroundings.get(NOWHERE)
        call = around.call
        if call is not None:
            if call.is_over:
                call.leave()  # which an interrupt has prevented
                around = surroundings.get(NOWHERE)
            elif call.is_of(args, kwargs):
                return None
        current = watch.reporter.current()
        return Unobserved() if current is None else Call(target, args, kwargs, around, current)

    return step


def _sync_wrapper(target: Target) -> Wrapper:
    watch, step = target.watch, _stepping(target)

    def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if not watch.on:
            return wrapped(*args, **kwargs)
        return observe(watch.reporter.guard, "create", step, wrapped, args, kwargs)

    return create


def _async_wrapper(target: Target) -> Wrapper:
    watch, step = target.watch, _stepping(target)

    async def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        seen = Observing(watch.reporter.guard, "create", lambda: step(args, kwargs))
        try:
            with seen:
                result = await wrapped(*args, **kwargs)
            return seen.returned(result)
        finally:
            if seen.is_inside:
                seen.leave()

    return create

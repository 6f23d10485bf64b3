"""The boundary around a client's `create`: one wrapper, sync and async twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

import wrapt

from llm_cache_otel.observe.call import Call, Target
from llm_cache_otel.observe.step import Observing, Step, Unobserved, current_call

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Switch:
    """Whether the functions that were handed out for a target are still watched.

    `given` is whether the target itself was given to `instrument`, and is not seen only because all are.
    """

    __slots__ = ("given", "on")

    def __init__(self, *, given: bool) -> None:
        self.given = given
        self.on = True

    def is_on(self) -> bool:
        return self.on


class ObservedCreate(wrapt.FunctionWrapper[..., Any]):
    """A `create` function that is observed; to everybody who asks, still the function it wraps.

    `client_cache_identity` reads `__self__` and closures of what it is given, so anything less than a
    transparent proxy would change the cache keys. Once switched off it passes straight through.
    """

    def __init__(
        self, create: Callable[..., Any], target: Target, switch: Switch, *, asynchronous: bool
    ) -> None:
        """`create` may be observed for another target: then it is not, for as long as it is for this."""
        beneath, create = create, bare(create)
        wrapper = _async_wrapper(target) if asynchronous else _sync_wrapper(target)
        super().__init__(create, wrapper, enabled=switch.is_on)
        self._self_switch = switch
        self._self_beneath = beneath

    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__wrapped__  # as for any function

    def __reduce_ex__(self, protocol: SupportsIndex) -> str:
        return self.__wrapped__.__qualname__  # by name, as any function

    @property
    def switch(self) -> Switch:
        return self._self_switch

    @property
    def beneath(self) -> Any:
        """What is to be put back: the function, or what else observes it still."""
        beneath = self._self_beneath
        if type(beneath) is ObservedCreate and not beneath.switch.on:
            return beneath.beneath
        return beneath


def bare(create: Any) -> Any:
    """What is left of a `create` without the watching that it may have been handed out with."""
    while type(create) is ObservedCreate:
        create = create.__wrapped__
    return create


def _step(target: Target, args: Args, kwargs: Kwargs) -> Step | None:
    around = current_call.get()
    if around is not None and around.is_of(args, kwargs):
        return None
    if target.reporter.is_suppressed():
        return Unobserved()
    return Call(target, args, kwargs)


def _sync_wrapper(target: Target) -> Callable[..., Any]:
    guard = target.reporter.guard

    def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        with Observing(guard, "create", lambda: _step(target, args, kwargs)) as seen:
            result = wrapped(*args, **kwargs)
        return seen.returned(result)

    return create


def _async_wrapper(target: Target) -> Callable[..., Any]:
    guard = target.reporter.guard

    async def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        with Observing(guard, "create", lambda: _step(target, args, kwargs)) as seen:
            result = await wrapped(*args, **kwargs)
        return seen.returned(result)

    return create

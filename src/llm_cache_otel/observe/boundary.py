"""The boundary around a client's `create`: one wrapper, sync and async twins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, SupportsIndex

import wrapt

from llm_cache_otel.observe.call import Call, Target
from llm_cache_otel.observe.step import Observing

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class ObservedCreate(wrapt.FunctionWrapper[..., Any]):
    """A `create` function that is observed; to everybody who asks, still the function it wraps.

    `client_cache_identity` reads `__self__` and closures of what it is given, so anything less than a
    transparent proxy would change the cache keys.
    """

    def __init__(
        self, create: Callable[..., Any], target: Target, undo: ExitStack, *, asynchronous: bool
    ) -> None:
        wrapper = _async_wrapper(target) if asynchronous else _sync_wrapper(target)
        observing = {"on": True}
        super().__init__(create, wrapper, enabled=lambda: observing["on"])
        self._self_observing = observing
        self._self_undo = undo

    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__wrapped__  # as for any function

    def __reduce_ex__(self, protocol: SupportsIndex) -> str:
        return self.__wrapped__.__qualname__  # by name, as any function

    @property
    def is_observing(self) -> bool:
        return self._self_observing["on"]

    def close(self) -> None:
        """Undo everything; pass straight through from now on, for whoever still holds this."""
        self._self_observing["on"] = False
        self._self_undo.close()


def _sync_wrapper(target: Target) -> Callable[..., Any]:
    guard = target.reporter.guard

    def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        with Observing(guard, "create", lambda: Call(target, args, kwargs)) as seen:
            result = wrapped(*args, **kwargs)
        return seen.returned(result)

    return create


def _async_wrapper(target: Target) -> Callable[..., Any]:
    guard = target.reporter.guard

    async def create(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        with Observing(guard, "create", lambda: Call(target, args, kwargs)) as seen:
            result = await wrapped(*args, **kwargs)
        return seen.returned(result)

    return create

"""Where Instructor's own functions are watched: the key, the lookup, the store and the retry loop.

Each seam passes straight through unless an observed call is running in this context.
"""

from __future__ import annotations

import pkgutil
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import Any, SupportsIndex

import wrapt

from llm_cache_otel import forks
from llm_cache_otel.observe import attempt, instructor_api
from llm_cache_otel.observe.boundary import bare
from llm_cache_otel.observe.call import Call
from llm_cache_otel.observe.instructor_api import layers
from llm_cache_otel.observe.lookup import Lookup, Store
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.step import NOWHERE, Observing, Surroundings, surroundings

UNDER_WAY = 1.0
"""Seconds after which no call should come to its retry loop any more that began before it could be seen."""

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _key(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
    call = surroundings.get(NOWHERE).call
    if call is None:
        return wrapped(*args, **kwargs)
    start = time.perf_counter_ns()
    key = wrapped(*args, **kwargs)
    end = time.perf_counter_ns()
    try:
        call.key_computed(key, start, end, kwargs)
    except Exception as error:
        if not call.guard.swallows("key", error):
            raise
    return key


def _load(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
    call = surroundings.get(NOWHERE).call
    if call is None or not args:
        return wrapped(*args, **kwargs)
    with Observing(call.guard, "lookup", partial(Lookup, call, *args[1:3])) as seen:
        found = wrapped(*_tapped(seen, args), **kwargs)
    return seen.returned(found)


def _store(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
    call = surroundings.get(NOWHERE).call
    if call is None or not args:
        return wrapped(*args, **kwargs)
    with Observing(call.guard, "store", lambda: Store(call, *args[1:2])) as seen:
        stored = wrapped(*_tapped(seen, args), **kwargs)
    return seen.returned(stored)


def _tapped(seen: Observing, args: Args) -> Args:
    cache = args[0]
    if seen.step is not None:
        try:
            cache = seen.step.tapped(cache)
        except Exception as error:
            if not seen.guard.swallows("tap", error):
                raise
    return (cache, *args[1:])


class _Retry:
    """The retry loop: runs attempts, validators and hooks, none of which are the call's own code."""

    def __init__(self, call: Call, kwargs: Kwargs, observed: Callable[..., Any]) -> None:
        call.learn(kwargs.get("provider"), kwargs.get("mode"), kwargs["kwargs"], kwargs["func"])
        hooks = kwargs.get("hooks")
        if hooks is None:
            hooks = instructor_api.no_hooks()
        self.kwargs = {**kwargs, "func": observed(call, bare(kwargs["func"]))}
        if hooks is not None:
            self.kwargs["hooks"] = attempt.HookTap(hooks, call)
        within = Surroundings()
        self.enter = within.enter
        self.leave = within.leave

    def failed(self, error: BaseException) -> None: ...

    def returned(self, result: Any) -> None: ...


def _retry_sync(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
    call = surroundings.get(NOWHERE).call
    if call is None:
        seams.missed()
        return wrapped(*args, **kwargs)
    make = lambda: _Retry(call, kwargs, attempt.observed)
    with Observing(call.guard, "retry", make) as seen:
        result = wrapped(*args, **(kwargs if seen.step is None else seen.step.kwargs))
    return seen.returned(result)


async def _retry_async(
    wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs
) -> Any:
    call = surroundings.get(NOWHERE).call
    if call is None:
        seams.missed()
        return await wrapped(*args, **kwargs)
    make = lambda: _Retry(call, kwargs, attempt.observed_async)
    with Observing(call.guard, "retry", make) as seen:
        result = await wrapped(*args, **(kwargs if seen.step is None else seen.step.kwargs))
    return seen.returned(result)


_SEAMS = (
    (instructor_api.KEY, _key),
    (instructor_api.LOAD, _load),
    (instructor_api.STORE, _store),
    (instructor_api.RETRY_SYNC, _retry_sync),
    (instructor_api.RETRY_ASYNC, _retry_async),
)


class Seams:
    """Opens the seams for the first observed client and closes them after the last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        # By identity: a client may define `__eq__`, and need not be hashable.
        self._users: dict[int, weakref.ref[Any]] = {}
        self._undo = ExitStack()
        self._expecting_all: Reporter | None = None
        self._expecting_since = 0.0

    def expect_all(self, reporter: Reporter | None) -> None:
        """Have `reporter` told of every call that is not observed, for all should be; `None` ends it."""
        self._expecting_since = time.monotonic()
        self._expecting_all = reporter

    def missed(self) -> None:
        reporter = self._expecting_all
        if reporter is not None and time.monotonic() - self._expecting_since >= UNDER_WAY:
            with reporter.guard("seams"):
                reporter.missed_call()

    def open_for(self, user: Any) -> None:
        with self._lock:
            for place, seam in _SEAMS:
                if place is not None and not _is_open(*place):
                    self._undo.callback(replaced(*place, seam))
            identity = id(user)
            self._users[identity] = weakref.ref(user, lambda gone: self._drop(identity, gone))

    def close_for(self, user: Any) -> None:
        with self._lock:
            self._users.pop(id(user), None)
            if not self._users:
                self._undo.close()

    def _drop(self, identity: int, gone: weakref.ref[Any]) -> None:
        if self._users.get(identity) is gone:
            self._users.pop(identity, None)


class _Seam(wrapt.FunctionWrapper[..., Any]):
    """One of Instructor's functions, watched; copied and pickled as any function, by its name."""

    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__wrapped__

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return pkgutil.resolve_name, (f"{self.__module__}:{self.__qualname__}",)


def _is_open(module: ModuleType, name: str) -> bool:
    """Whether our seam is still there, perhaps under somebody else's.

    Whoever restores a function that they had replaced before us takes ours away.
    """
    return any(type(function) is _Seam for function in layers(getattr(module, name)))


def replaced(module: ModuleType, name: str, seam: Callable[..., Any]) -> Callable[[], None]:
    """Put `seam` around a function of a module; returns what takes it away again."""
    original = getattr(module, name)
    ours = _Seam(original, seam)
    setattr(module, name, ours)

    def undo() -> None:
        # Somebody who wrapped ours keeps what they have: ours passes through without a call. Modules
        # of Instructor's own that were imported since may have taken ours for the original.
        for holder in (module, *instructor_api.modules()):
            if vars(holder).get(name) is ours:
                setattr(holder, name, original)

    return undo


seams = Seams()

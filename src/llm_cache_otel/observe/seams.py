"""Where Instructor's own functions are watched: the key, the lookup, the store and the retry loop.

Each seam passes straight through unless an observed call is running in this context.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType, ModuleType
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.observe import attempt, instructor_api
from llm_cache_otel.observe.boundary import bare
from llm_cache_otel.observe.cache_use import asking
from llm_cache_otel.observe.call import Call
from llm_cache_otel.observe.instructor_api import layers
from llm_cache_otel.observe.lookup import Lookup, Store
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.step import NOWHERE, step_back, step_out, surroundings

UNDER_WAY = 1.0
"""Seconds after which no call should come to its retry loop any more that began before it could be seen."""

Function = Callable[..., Any]
Kwargs = dict[str, Any]


def _key(wrapped: Function) -> Function:
    def key(*args: Any, **kwargs: Any) -> Any:
        call = surroundings.get(NOWHERE).call
        if call is None:
            return wrapped(*args, **kwargs)
        start = time.perf_counter_ns()
        made = wrapped(*args, **kwargs)
        end = time.perf_counter_ns()
        try:
            call.key_computed(made, start, end, kwargs)
        except Exception as error:
            if not call.reporter.guard.swallows("key", error):
                raise
        return made

    return key


def _watched(call: Call, kwargs: Kwargs, observed: Callable[..., Any]) -> Kwargs:
    """What the retry loop is to be given, so that its attempts and what becomes of their answers are seen."""
    function = kwargs["func"]
    call.learn(kwargs.get("provider"), kwargs.get("mode"), kwargs["kwargs"], function)
    watched = {**kwargs, "func": observed(call, bare(function))}
    hooks = kwargs.get("hooks")
    if hooks is None:
        hooks = instructor_api.no_hooks()
    if hooks is not None:
        watched["hooks"] = attempt.HookTap(hooks, call)
    return watched


def _retry_sync(wrapped: Function) -> Function:
    """The retry loop: runs attempts, validators and hooks, none of which are the call's own code."""

    def retry(*args: Any, **kwargs: Any) -> Any:
        call = surroundings.get(NOWHERE).call
        if call is None:
            seams.missed()
            return wrapped(*args, **kwargs)
        token = None
        try:
            token = step_out(call)
            kwargs = _watched(call, kwargs, attempt.observed)
        except Exception as error:
            if not call.reporter.guard.swallows("retry", error):
                raise
        try:
            return wrapped(*args, **kwargs)
        finally:
            step_back(token)

    return retry


def _retry_async(wrapped: Function) -> Function:
    async def retry(*args: Any, **kwargs: Any) -> Any:
        call = surroundings.get(NOWHERE).call
        if call is None:
            seams.missed()
            return await wrapped(*args, **kwargs)
        token = None
        try:
            token = step_out(call)
            kwargs = _watched(call, kwargs, attempt.observed_async)
        except Exception as error:
            if not call.reporter.guard.swallows("retry", error):
                raise
        try:
            return await wrapped(*args, **kwargs)
        finally:
            step_back(token)

    return retry


_SEAMS = (
    (instructor_api.KEY, _key),
    (instructor_api.LOAD, asking(Lookup)),
    (instructor_api.STORE, asking(Store)),
    (instructor_api.RETRY_SYNC, _retry_sync),
    (instructor_api.RETRY_ASYNC, _retry_async),
)


_ours: weakref.WeakSet[Function] = weakref.WeakSet()


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


def _is_open(module: ModuleType, name: str) -> bool:
    """Whether our seam is still there, perhaps under somebody else's.

    Whoever restores a function that they had replaced before us takes ours away.
    """
    return any(is_seam(function) for function in layers(getattr(module, name)))


def is_seam(function: object) -> bool:
    return isinstance(function, FunctionType) and function in _ours


def replaced(
    module: ModuleType, name: str, seam: Callable[[Function], Function]
) -> Callable[[], None]:
    """Put `seam` around a function of a module; returns what takes it away again.

    A plain function takes its place, for it is copied and pickled by its name as that was: `seam` must give
    the same where the same stands in several. One of ours that was taken away and that somebody put back
    is not kept: it does nothing, and would make the function another than its like elsewhere.
    """
    original = getattr(module, name)
    while is_seam(original):
        original = original.__wrapped__
    ours = functools.wraps(original)(seam(original))
    _ours.add(ours)
    setattr(module, name, ours)

    def undo() -> None:
        # Somebody who wrapped ours keeps what they have: ours passes through without a call. Modules
        # of Instructor's own that were imported since may have taken ours for the original.
        for holder in (module, *instructor_api.modules()):
            if vars(holder).get(name) is ours:
                setattr(holder, name, original)

    return undo


seams = Seams()

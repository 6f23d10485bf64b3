"""Runs host code inside an observation without ever standing in its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from llm_cache_otel.facts import BackendFacts, Interval, Scope

if TYPE_CHECKING:
    from llm_cache_otel.guard import Guard
    from llm_cache_otel.observe.call import Call

ANY_CLIENT = 0

Listener = Callable[[object, Any, Any, BackendFacts], bool]
"""Takes an observed store, a key, an entry found or stored, and what came of asking for it; whether it takes
that for its own."""


class Clock:
    """Nanoseconds since the Unix epoch that never step back: wall time read once, then monotonic.

    `offset` is what a reading of `time.perf_counter_ns` lacks to be such a time.
    """

    __slots__ = ("offset",)

    def __init__(self) -> None:
        self.offset = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        return self.offset + time.perf_counter_ns()

    def at(self, perf_counter_ns: int) -> int:
        """The epoch time of an earlier reading of `time.perf_counter_ns`."""
        return self.offset + perf_counter_ns

    def between(self, start: int, end: int) -> Interval:
        """From one such reading to another."""
        return Interval(self.offset + start, self.offset + end)

    def of_process(self, interval: Interval) -> Interval:
        """In readings of `time.perf_counter_ns`, for what other calls did to be before or after."""
        return Interval(interval.start_ns - self.offset, interval.end_ns - self.offset)


class Step(Protocol):
    """One thing to observe. Any of its methods may fail: the host does not notice."""

    def enter(self) -> None: ...

    def leave(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def returned(self, result: Any) -> Any | None:
        """Note the result. Something other than `None` takes its place: a stream that is watched."""
        ...


surroundings: ContextVar[Surroundings] = ContextVar("llm_cache_otel_surroundings")
"""Asked with `surroundings.get(NOWHERE)`."""


class Surroundings:
    """What is current while host code runs, and its place in the trace.

    `call` is the observed call whose Instructor code is running; `None` while anybody else's code runs, so
    that an unobserved client used inside a validator, a hook or an adapter is not taken for part of the call.

    `asks` is whom an attempt under way asks, whose own calls within it are told by it: the `id` of an SDK's
    client, `ANY_CLIENT` where Instructor runs the attempt, and `None` while anybody else's code runs.

    `listener` is the observed function's that runs, for what an observed store is asked. It is as around
    unless given; but what Instructor asks of its cache is no lookup of a function around the call.

    `busy` are caches whose `get` or `set` is being timed, and what is given is the latest of them: an adapter
    that is observed by itself, or that calls its parent class's method, is not counted twice.

    `current` is what else is current, by its variable.
    """

    __slots__ = ("_current", "_scope", "_token", "_tokens", "asks", "busy", "call", "listener")

    def __init__(
        self,
        call: Call | None = None,
        scope: Scope | None = None,
        *,
        asks: int | None = None,
        listener: Listener | None = None,
        busy: object = None,
        current: Mapping[ContextVar[Any], object] | None = None,
    ) -> None:
        self.call = call
        self.asks = asks
        around = surroundings.get(None)
        self.listener: Listener | None = listener
        self.busy: tuple[object, ...]
        if around is None:
            self.busy = () if busy is None else (busy,)
        else:
            self.busy = around.busy if busy is None else (*around.busy, busy)
            if listener is None and call is None:
                self.listener = around.listener
        self._scope = scope
        self._current = current
        self._token: Token[Surroundings] | None = None
        self._tokens: list[Token[Any]] | None = None

    def enter(self) -> None:
        self._token = surroundings.set(self)
        if self._current is not None:
            self._tokens = [variable.set(value) for variable, value in self._current.items()]
        if self._scope is not None:
            self._scope.enter()

    def leave(self) -> None:
        self.call = self._current = self.listener = (
            None  # no cycle: a finished call is freed at once
        )
        token = self._token
        if token is None:
            return
        try:
            surroundings.reset(token)
        except RuntimeError:
            pass  # an interrupt struck when it was half done
        except ValueError:
            # A coroutine that is dropped is closed in a context where nothing was attached.
            self._token = None
            return
        while self._tokens:
            inner = self._tokens.pop()
            with suppress(RuntimeError):
                inner.var.reset(inner)
        if self._scope is not None:
            self._scope.leave()
        self._token = None


NOWHERE = Surroundings(None)


class Aside:
    """As `Surroundings` that nothing is known of, and nothing is told by."""

    __slots__ = ("_token",)

    _token: Token[Surroundings]

    def enter(self) -> None:
        self._token = surroundings.set(NOWHERE)

    def leave(self) -> None:
        try:  # noqa: SIM105  which takes longer than all of it
            surroundings.reset(self._token)
        except (RuntimeError, ValueError, AttributeError):
            pass  # as there: an interrupt has struck, or a coroutine is closed elsewhere


class Unobserved:
    """A call that is not to be observed: nor is what runs within it a part of any call around it."""

    def __init__(self) -> None:
        around = Surroundings()
        self.enter = around.enter
        self.leave = around.leave

    def failed(self, error: BaseException) -> None: ...

    def returned(self, result: Any) -> None: ...


class Observing:
    """Around the host's own call: `with Observing(...) as seen: result = f()`, then `seen.returned(result)`.

    `make` builds the step, or `None` if there is nothing to observe. The host's exceptions pass through; ours
    are swallowed and counted.
    """

    __slots__ = ("_make", "_where", "guard", "is_inside", "step")

    def __init__(self, guard: Guard, where: str, make: Callable[[], Step | None]) -> None:
        self.guard = guard
        self._where = where
        self._make = make
        self.step: Any = None
        self.is_inside = False

    def __enter__(self) -> Self:
        try:
            step = self.step = self._make()
            if step is not None:
                self.is_inside = True
                step.enter()
        except Exception as error:
            if not self.guard.swallows(self._where, error):
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.is_inside:
            try:  # as `leave`, without a step of its own
                self.step.leave()
            except Exception as failure:
                if not self.guard.swallows(self._where, failure):
                    raise
            self.is_inside = False
        if error is not None and self.step is not None:
            with self.guard(self._where):
                self.step.failed(error)

    def leave(self) -> None:
        """Once is enough; again where an interrupt has struck, for as long as `is_inside`."""
        if self.is_inside:
            try:
                self.step.leave()
            except Exception as error:
                if not self.guard.swallows(self._where, error):
                    raise
            self.is_inside = False

    def returned(self, result: Any) -> Any:
        """The host's result, or the watched stream that takes its place."""
        if self.step is None:
            return result
        watched = None
        try:
            watched = self.step.returned(result)
        except Exception as error:
            if not self.guard.swallows(self._where, error):
                raise
        return result if watched is None else watched

"""Runs host code inside an observation without ever standing in its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from llm_cache_otel.facts import Interval, Scope

if TYPE_CHECKING:
    from llm_cache_otel.guard import Guard
    from llm_cache_otel.observe.call import Call

current_call: ContextVar[Call | None] = ContextVar("llm_cache_otel_call", default=None)
"""The observed call whose Instructor code is running; `None` while anybody else's code runs, so that
an unobserved client used inside a validator, a hook or an adapter is not taken for part of the call."""

ANY_CLIENT = 0

asking: ContextVar[int | None] = ContextVar("llm_cache_otel_asking", default=None)
"""Whom an attempt under way asks, whose own calls within it are told by it: the `id` of an SDK's client,
`ANY_CLIENT` where Instructor runs the attempt, and `None` while anybody else's code runs."""


class Clock:
    """Nanoseconds since the Unix epoch that never step back: wall time read once, then monotonic."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        return self._offset + time.perf_counter_ns()

    def at(self, perf_counter_ns: int) -> int:
        """The epoch time of an earlier reading of `time.perf_counter_ns`."""
        return self._offset + perf_counter_ns

    def of_process(self, interval: Interval) -> Interval:
        """In readings of `time.perf_counter_ns`, for what other calls did to be before or after."""
        return Interval(interval.start_ns - self._offset, interval.end_ns - self._offset)


class Step(Protocol):
    """One thing to observe. Any of its methods may fail: the host does not notice."""

    def enter(self) -> None: ...

    def leave(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def returned(self, result: Any) -> Any | None:
        """Note the result. Something other than `None` takes its place: a stream that is watched."""
        ...


class Surroundings:
    """What is current while host code runs: the call to attribute it to, and its place in the trace.

    `asks` is whom, as in `asking`, and `current` what else is, by its variable.
    """

    __slots__ = ("_call", "_current", "_scope", "_token", "_tokens")

    def __init__(
        self,
        call: Call | None,
        scope: Scope | None,
        *,
        asks: int | None = None,
        current: Mapping[ContextVar[Any], object] | None = None,
    ) -> None:
        self._call = call
        self._scope = scope
        self._current: dict[ContextVar[Any], object] = {asking: asks, **(current or {})}
        self._token: Token[Call | None] | None = None
        self._tokens: list[Token[Any]] = []

    def enter(self) -> None:
        self._token = current_call.set(self._call)
        for variable, value in self._current.items():
            self._tokens.append(variable.set(value))
        if self._scope is not None:
            self._scope.enter()

    def leave(self) -> None:
        self._call, self._current = None, {}  # no cycle: a finished call is freed at once
        if self._token is None:
            return
        try:
            current_call.reset(self._token)
        except RuntimeError:
            pass  # an interrupt struck when it was half done
        except ValueError:
            # A coroutine that is dropped is closed in a context where nothing was attached.
            self._token = None
            return
        while self._tokens:
            token = self._tokens.pop()
            with suppress(RuntimeError):
                token.var.reset(token)
        if self._scope is not None:
            self._scope.leave()
        self._token = None


class Unobserved:
    """A call that is not to be observed: nor is what runs within it a part of any call around it."""

    def __init__(self) -> None:
        surroundings = Surroundings(None, None)
        self.enter = surroundings.enter
        self.leave = surroundings.leave

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
        self.step: Any | None = None
        self.is_inside = False

    def __enter__(self) -> Self:
        with self.guard(self._where):
            self.step = self._make()
        if self.step is not None:
            self.is_inside = True
            with self.guard(self._where):
                self.step.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
        if self.step is not None and error is not None:
            with self.guard(self._where):
                self.step.failed(error)

    def leave(self) -> None:
        """Once is enough; again where an interrupt has struck, for as long as `is_inside`."""
        if self.step is not None and self.is_inside:
            with self.guard(self._where):
                self.step.leave()
            self.is_inside = False

    def returned(self, result: Any) -> Any:
        """The host's result, or the watched stream that takes its place."""
        if self.step is None:
            return result
        watched = None
        with self.guard(self._where):
            watched = self.step.returned(result)
        return result if watched is None else watched

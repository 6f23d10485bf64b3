"""Runs host code inside an observation without ever standing in its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from llm_cache_otel.facts import BackendFacts, Scope

if TYPE_CHECKING:
    from llm_cache_otel.guard import Guard
    from llm_cache_otel.observe.call import Call

ANY_CLIENT = 0

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

Given = tuple[Args, Kwargs]
"""Arguments, and those by name."""

Listener = Callable[[object, Any, Any, BackendFacts], bool]
"""Takes an observed store, a key, an entry found or stored, and what came of asking for it; whether it takes
that for its own."""


class Step(Protocol):
    """One thing to observe. Any of its methods may fail: the host does not notice."""

    def enter(self) -> Given | None:
        """Something other than `None` takes the place of the arguments: a cache that is watched."""
        ...

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
    """

    # Most of them never change it: a hit need not write down what stands here.
    call: Call | None = None
    asks: int | None = None
    listener: Listener | None = None
    busy: tuple[object, ...] = ()
    scope: Scope | None = None
    _token: Token[Surroundings] | None = None

    def __init__(
        self,
        *,
        scope: Scope | None = None,
        asks: int | None = None,
        busy: object = None,
    ) -> None:
        self.scope = scope
        self.asks = asks
        around = surroundings.get(None)
        if around is not None:
            self.busy = around.busy
            self.listener = around.listener
        if busy is not None:
            self.busy = (*self.busy, busy)

    def enter(self) -> None:
        self._token = surroundings.set(self)
        if self.scope is not None:
            self.scope.enter()

    def leave(self) -> None:
        # No cycle: a finished call is freed at once. And no attribute that it does not have yet.
        if self.call is not None:
            self.call = None
        if self.listener is not None:
            self.listener = None
        token = self._token
        if token is None:
            if surroundings.get(NOWHERE) is self:  # an interrupt struck as it was entered
                surroundings.set(NOWHERE)
            return
        try:
            surroundings.reset(token)
        except RuntimeError:
            pass  # an interrupt struck when it was half done
        except ValueError:
            # A coroutine that is dropped is closed in a context where nothing was attached.
            self._token = None
            return
        if self.scope is not None:
            self.scope.leave()
        self._token = None


NOWHERE = Surroundings()


def step_out(call: Surroundings) -> Token[Surroundings]:
    """Have what runs from here on be no part of a call within which it runs, until `step_back`.

    Whoever copies the context meanwhile, for a thread or a task, has nothing of the call in it.
    """
    return surroundings.set(Surroundings() if call.busy else NOWHERE)


def step_back(token: Token[Surroundings] | None) -> None:
    if token is not None:
        try:  # noqa: SIM105  which takes longer than all of it
            surroundings.reset(token)
        except (RuntimeError, ValueError):
            pass  # as of `Surroundings.leave`


class FunctionSurroundings(Surroundings):
    """Those of an observed function. `current` is what else is current, by its variable."""

    _tokens: list[Token[Any]] | None = None

    def __init__(
        self,
        scope: Scope,
        listener: Listener | None,
        current: Mapping[ContextVar[Any], object] | None,
    ) -> None:
        super().__init__(scope=scope)
        if listener is not None:
            self.listener = listener
        self._current = current

    def enter(self) -> None:
        super().enter()
        if self._current is not None:
            self._tokens = [variable.set(value) for variable, value in self._current.items()]

    def leave(self) -> None:
        self._current = None  # no cycle
        super().leave()
        while self._tokens:
            inner = self._tokens.pop()
            with suppress(RuntimeError, ValueError):  # as above
                inner.var.reset(inner)


class Unobserved:
    """A call that is not to be observed: nor is what runs within it a part of any call around it."""

    def __init__(self) -> None:
        around = Surroundings()
        self.enter = around.enter
        self.leave = around.leave

    def failed(self, error: BaseException) -> None: ...

    def returned(self, result: Any) -> None: ...


def observe(  # noqa: C901, PLR0912  a hit runs through it: one function, where it could be four
    guard: Guard,
    where: str,
    make: Callable[[Args, Kwargs], Step | None],
    function: Callable[..., Any],
    args: Args,
    kwargs: Kwargs,
) -> Any:
    """What the host's own `function(*args, **kwargs)` gives, or the watched stream that takes its place.

    `make(args, kwargs)` builds the step, or `None` if there is nothing to observe. The host's exceptions pass
    through; ours are swallowed and counted.
    """
    step, is_inside = None, False
    try:
        try:
            step = make(args, kwargs)
            if step is not None:
                is_inside = True
                given = step.enter()
                if given is not None:
                    args, kwargs = given
        except Exception as error:
            if not guard.swallows(where, error):
                raise
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            if step is not None:
                if is_inside:
                    with guard(where):
                        step.leave()
                    is_inside = False
                with guard(where):
                    step.failed(error)
            raise
        if step is None:
            return result
        watched = None
        try:
            step.leave()
        except Exception as error:
            if not guard.swallows(where, error):
                raise
        is_inside = False
        try:
            watched = step.returned(result)
        except Exception as error:
            if not guard.swallows(where, error):
                raise
        return result if watched is None else watched
    finally:
        if is_inside and step is not None:  # an interrupt has struck
            with guard(where):
                step.leave()


class Observing:
    """`observe`, around what is awaited: `with Observing(...) as seen: result = await f()`, then
    `seen.returned(result)`. What a step gives in the arguments' place is its own to ask for.
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

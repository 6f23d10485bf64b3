"""Observing the clients of the providers' SDKs themselves, with Instructor or without it.

No client is changed. The methods of its class are wrapped, and pass straight through for every client but
those that were handed in, and what these are copied to.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.later import later
from llm_cache_otel.observe.instructor_api import layers
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.sdk_call import SdkCall
from llm_cache_otel.observe.sdk_methods import Args, Kwargs, Method, Role, Sdk, sdk_of
from llm_cache_otel.observe.step import ANY_CLIENT, NOWHERE, Observing, surroundings
from llm_cache_otel.observe.stream import host_closed
from llm_cache_otel.observe.target import Target, Watch


class _Known:
    """An observed client. Told apart by identity: a client may define `__eq__`."""

    __slots__ = ("given", "methods", "reference", "watch")

    def __init__(self, reference: weakref.ref[Any], watch: Watch, *, given: bool) -> None:
        self.reference = reference
        self.watch = watch
        self.given = given
        self.methods: set[tuple[int, str]] = set()


class SdkClients:
    """The observed clients of this process, and the wrapped methods behind them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._known: dict[int, _Known] = {}
        self._wrapped: dict[tuple[int, str], _Wrapped] = {}

    def is_given(self, client: Any, sdk: Sdk) -> bool:
        known = self._get(sdk.owner(client))
        return known is not None and known.given

    def add(self, client: Any, sdk: Sdk, reporter: Reporter, name: str | None) -> None:
        self._add(client, sdk, Watch(reporter, name, given=True), given=True)

    def remove(self, client: Any, sdk: Sdk) -> None:
        """And what it was copied to, if it was handed in itself."""
        with self._lock:
            known = self._known.pop(id(sdk.owner(client)), None)
            if known is not None and known.given:
                known.watch.on = False
                for identity, other in list(self._known.items()):
                    if other.watch is known.watch:
                        self._known.pop(identity, None)
            self._clear_away()

    def copied(self, client: Any, sdk: Sdk, watch: Watch) -> None:
        if self._get(sdk.owner(client)) is None:
            self._add(client, sdk, watch, given=False)

    def cover(self, client: Any, sdk: Sdk) -> None:
        """Wrap what has been imported since the client was handed in."""
        with self._lock:
            known = self._get(sdk.owner(client))
            if known is not None:
                self._wrap_all(client, sdk, known)

    def watch_of(self, owner: object) -> Watch | None:
        """`None` for what is not to be observed, or told already by the attempt that is under way."""
        if surroundings.get(NOWHERE).asks in (ANY_CLIENT, id(owner)):
            return None
        known = self._get(owner)
        return None if known is None or not known.watch.on else known.watch

    def _get(self, owner: object) -> _Known | None:
        known = self._known.get(id(owner))
        return known if known is not None and known.reference() is owner else None

    def _add(self, client: Any, sdk: Sdk, watch: Watch, *, given: bool) -> None:
        owner = sdk.owner(client)
        identity = id(owner)
        reference = weakref.ref(owner, lambda gone: self._drop(identity, gone))
        known = _Known(reference, watch, given=given)
        with self._lock:
            self._known[identity] = known
            self._wrap_all(client, sdk, known)

    def _wrap_all(self, client: Any, sdk: Sdk, known: _Known) -> None:
        for method in sdk.methods(client):
            known.methods.add(method.key)
            wrapped = self._wrapped.get(method.key)
            if wrapped is not None and wrapped.is_in_place(method):
                continue
            if wrapped is not None:
                wrapped.undo()
            self._wrapped[method.key] = _Wrapped(self, sdk, method)

    def _drop(self, identity: int, gone: weakref.ref[Any]) -> None:
        # A finalizer: it takes no lock, and the entry of whoever has the identity next stays.
        known = self._known.get(identity)
        if known is not None and known.reference is gone:
            self._known.pop(identity, None)
            later.put(self._clear_away)

    def _clear_away(self) -> None:
        with self._lock:
            # A copy: clients that are dropped meanwhile take themselves out.
            needed = {key for known in self._known.copy().values() for key in known.methods}
            for key in [key for key in self._wrapped if key not in needed]:
                self._wrapped.pop(key).undo()


class _Wrapped:
    """A method that one of our functions has the place of."""

    def __init__(self, clients: SdkClients, sdk: Sdk, method: Method) -> None:
        holder: Any = method.holder()
        self._place = method
        self._original = _Original(method, vars(holder)[method.name])
        make = {Role.ASK: _asking, Role.COPY: _copying, Role.CLOSE: _closing}[method.role]
        # A plain function, for bound methods of it can be pickled and copied as before.
        ours: Any = make(clients, sdk, self._original)
        functools.update_wrapper(ours, vars(holder)[method.name])
        setattr(holder, method.name, ours)
        # Weak, for a function that is in a client itself may hold the client.
        self._ours = weakref.ref(ours)

    def is_in_place(self, method: Method) -> bool:
        """Perhaps under somebody else's. Whoever restores what they had replaced before takes ours away."""
        holder, ours = method.holder(), self._ours()
        if ours is None or self._place.holder() is not holder:
            return False  # whose identity a client that is gone has had
        return any(each is ours for each in layers(vars(holder).get(method.name)))

    def undo(self) -> None:
        # Somebody who wrapped ours keeps what they have: ours passes through from now on.
        self._original.is_observed = False
        holder, ours = self._place.holder(), self._ours()
        if holder is not None and ours is not None and vars(holder).get(self._place.name) is ours:
            setattr(holder, self._place.name, ours.__wrapped__)


Function = Callable[..., Any]


class _Original:
    """The function that one of ours takes the place of."""

    def __init__(self, method: Method, function: Any) -> None:
        self.name = method.name
        self.is_observed = True
        self.is_async = inspect.iscoroutinefunction(function)
        self.function: Function = function
        self.holder_of: Callable[[Args], Any] = lambda args: args[0] if args else None
        if not isinstance(method.holder(), type):
            self.holder_of = lambda args: method.holder()
        elif type(function) is not FunctionType:
            # A wrapper of somebody else's, which may tell by how it is bound.
            self.function = lambda holder, /, *args, **kwargs: function.__get__(
                holder, type(holder)
            )(*args, **kwargs)


def _asking(clients: SdkClients, sdk: Sdk, original: _Original) -> Function:
    function, holder_of = original.function, original.holder_of

    def watch_of(args: Args) -> Watch | None:
        return clients.watch_of(sdk.owner(holder_of(args))) if original.is_observed else None

    def start(watch: Watch, args: Args, kwargs: Kwargs) -> tuple[Observing, Observing]:
        make = lambda: _call(clients, sdk, watch, holder_of(args), original.name, (args, kwargs))
        call = Observing(watch.reporter.guard, "create", make)
        attempt = Observing(call.guard, "attempt", lambda: call.step and call.step.attempt())
        return call, attempt

    def ask(*args: Any, **kwargs: Any) -> Any:
        watch = watch_of(args)
        if watch is None:
            return function(*args, **kwargs)
        call, attempt = start(watch, args, kwargs)
        try:
            with call:
                try:
                    with attempt:
                        args, kwargs = _tapped(sdk, attempt, args, kwargs)
                        answer = function(*args, **kwargs)
                finally:
                    _left(attempt)
            return call.returned(attempt.returned(answer))
        finally:
            _left(call)

    async def ask_async(*args: Any, **kwargs: Any) -> Any:
        watch = watch_of(args)
        if watch is None:
            return await function(*args, **kwargs)
        call, attempt = start(watch, args, kwargs)
        try:
            with call:
                try:
                    with attempt:
                        args, kwargs = _tapped(sdk, attempt, args, kwargs)
                        answer = await function(*args, **kwargs)
                finally:
                    _left(attempt)
            return call.returned(attempt.returned(answer))
        finally:
            _left(call)

    return ask_async if original.is_async else ask


def _call(
    clients: SdkClients, sdk: Sdk, watch: Watch, holder: Any, name: str, given: tuple[Args, Kwargs]
) -> SdkCall | None:
    if watch.reporter.is_suppressed():
        return None
    asked = sdk.asked(holder, name, *given)
    if asked is None:
        return None
    if asked.request.get("stream") is True and sdk_of(holder) is sdk:
        clients.cover(holder, sdk)
    asks = id(sdk.owner(holder)) if sdk.owns_its_calls else None
    return SdkCall(Target(watch, asked.client, asked.provider), asked, asks)


def _tapped(sdk: Sdk, attempt: Observing, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments, and an answer is heard of before `parse` may fail for it."""
    step = attempt.step
    if step is None:
        return args, kwargs

    def heard(answer: Any) -> None:
        with attempt.guard("answer"):
            step.heard(answer)

    with attempt.guard("tap"):
        return sdk.tapped(args, kwargs, heard)
    return args, kwargs


def _left(observed: Observing) -> None:
    """Which an interrupt may have prevented."""
    if observed.is_inside:
        observed.leave()


def _copying(clients: SdkClients, sdk: Sdk, original: _Original) -> Function:
    function, holder_of = original.function, original.holder_of

    def copy(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        watch = clients.watch_of(sdk.owner(holder_of(args)))
        if watch is not None:
            with watch.reporter.guard("copy"):
                clients.copied(made, sdk, watch)
        return made

    return copy


def _closing(clients: SdkClients, sdk: Sdk, original: _Original) -> Function:
    function, holder_of = original.function, original.holder_of

    def close(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            host_closed(holder_of(args))

    async def close_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        finally:
            host_closed(holder_of(args))

    return close_async if original.is_async else close


sdk_clients = SdkClients()

"""Instructor's clients: which of them are observed, and how that is done without touching one.

Every way to call a client ends in its `create_fn`. A data descriptor on the class is asked before the
instance's own attribute, so that reading it gives the observed function while the client keeps its own:
whenever it was made, and whatever is put there later.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.boundary import ObservedCreate, Watching, bare, watching
from llm_cache_otel.observe.instructor_api import (
    CREATE,
    AsyncInstructor,
    Instructor,
    is_somebody_elses,
)
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.sdk import provider_name
from llm_cache_otel.observe.target import Target, Watch


class _Known:
    """An observed client. Told apart by identity: a client may define `__eq__`."""

    __slots__ = ("made_for", "mode", "provider", "reference", "watch")

    def __init__(self, reference: weakref.ref[Any], watch: Watch) -> None:
        client = reference()
        held = _held_by(client)
        self.reference = reference
        self.watch = watch
        self.provider = provider_name(
            _value(held.get("provider")), held.get("client"), bare(held[CREATE])
        )
        self.mode = _value(held.get("mode"))
        self.made_for: tuple[Callable[[], Any], Watch, Watching] | None = None

    def observed(self, client: Any, create: Any) -> ObservedCreate:
        """`create`, observed; made anew for every call, for it holds what may hold the client."""
        watch, made_for = self.watch, self.made_for
        if made_for is None or made_for[0]() is not create or made_for[1] is not watch:
            is_awaited = isinstance(client, AsyncInstructor) or inspect.iscoroutinefunction(create)
            target = _ClientTarget(watch, self.reference, self.provider, self.mode)
            made = watching(target, create, asynchronous=is_awaited)
            made_for = (lambda: None), watch, made
            with suppress(TypeError):  # what can't be referred to weakly is looked at each time
                made_for = weakref.ref(create), watch, made
            self.made_for = made_for
        return ObservedCreate(create, *made_for[2])


class _ClientTarget(Target):
    """That of an Instructor client, which it does not keep."""

    __slots__ = ("_client",)

    def __init__(
        self, watch: Watch, client: weakref.ref[Any], provider: str | None, mode: str | None
    ) -> None:
        super().__init__(watch, None, provider, mode)
        self._client = client

    def sdk(self) -> Any:
        client = self._client()
        return None if client is None else _held_by(client).get("client")


class ObservedClients:
    """The observed clients of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._known: dict[int, _Known] = {}
        self._all: Reporter | None = None
        self._create = _Create(self)

    def is_given(self, client: object) -> bool:
        known = self._get(client)
        return known is not None and known.watch.given

    def add(self, client: Any, reporter: Reporter, name: str | None) -> None:
        new = self._made_known(client, Watch(reporter, name, given=True))
        with self._lock:
            known = self._known[id(client)] = self._get(client) or new
            # What was handed out because all are observed is observed on.
            known.watch.tell(reporter, name, given=True)
            self._put_in_place()

    def remove(self, client: Any) -> None:
        with self._lock:
            known = self._get(client)
            if known is None or self._all is None:
                self._forget(id(client))
            else:
                known.watch.tell(self._all, None, given=False)
            self._clear_away()

    def add_all(self, reporter: Reporter) -> None:
        """Observe every client that is not observed by itself, those made before included."""
        with self._lock:
            self._all = reporter
            self._put_in_place()

    def remove_all(self) -> None:
        with self._lock:
            self._all = None
            for identity, known in list(self._known.items()):
                if not known.watch.given:
                    self._forget(identity)
            self._clear_away()

    def watched(self, client: Any, create: Any) -> ObservedCreate | None:
        """The observed function in place of a client's `create`; `None` if it is not observed."""
        known = self._known.get(id(client))
        if known is not None and known.watch.given and known.reference() is client:
            made_for = known.made_for  # as most are: in as few steps as can be
            if made_for is not None and made_for[0]() is create and made_for[1] is known.watch:
                return ObservedCreate(create, *made_for[2])
        known, reporter, create = self._get(client), self._all, bare(create)
        if (known is None or not known.watch.given) and is_somebody_elses(create):
            return None
        if known is None and reporter is not None:
            # Not under the lock: it asks the SDK's client, which may be of anybody's making.
            new = self._made_known(client, Watch(reporter, None, given=False))
            with self._lock:
                known = self._get(client)
                if known is None and self._all is reporter:
                    known = self._known[id(client)] = new
        if known is None:
            return None
        return known.observed(client, create)

    def replaced(self, client: Any, before: Any, create: Any) -> None:
        """Watch no function any more that was handed out for a client: the new one may wrap it."""
        known = self._get(client)
        if self._all is not None or known is not None:
            _held_by(client)[CREATE] = create = bare(create)
        if create is bare(before):
            return
        if known is not None and (known.watch.given or not is_somebody_elses(create)):
            known.watch.on = False
            known.watch = replace(known.watch, on=True)

    def swallows(self, client: object, error: Exception) -> bool:
        """As a guard does that knows nobody but the client."""
        guard = Guard(lambda where, error: self._report_error(client, where, error))
        return guard.swallows("client", error)

    def _report_error(self, client: object, where: str, error: Exception) -> None:
        known = self._known.get(id(client))
        reporter = self._all if known is None else known.watch.reporter
        if reporter is not None:
            with reporter.guard(where):
                raise error

    def _get(self, client: object) -> _Known | None:
        known = self._known.get(id(client))
        return known if known is not None and known.reference() is client else None

    def _made_known(self, client: Any, watch: Watch) -> _Known:
        identity = id(client)
        # A finalizer: it takes no lock, and the entry of whoever has the identity next stays.
        reference = weakref.ref(client, lambda gone: self._drop(identity, gone))
        return _Known(reference, watch)

    def _drop(self, identity: int, gone: weakref.ref[Any]) -> None:
        known = self._known.get(identity)
        if known is not None and known.reference is gone:
            self._known.pop(identity, None)

    def _forget(self, identity: int) -> None:
        known = self._known.pop(identity, None)
        if known is not None:
            known.watch.on = False

    def _put_in_place(self) -> None:
        if CREATE not in vars(Instructor):
            setattr(Instructor, CREATE, self._create)

    def _clear_away(self) -> None:
        given = any(known.watch.given for known in list(self._known.values()))
        if not given and self._all is None and vars(Instructor).get(CREATE) is self._create:
            delattr(Instructor, CREATE)

    def obstacle(self, client: Any) -> str | None:
        """Why a client can't be observed, in a user's words; `None` if it can."""
        if not issubclass(type(client), Instructor):
            return f"it is a {type(client).__name__} in place of one; hand in the client itself"
        if CREATE not in _held_by(client):
            return f"it has no {CREATE}"
        for kind in type(client).__mro__:
            if kind is Instructor:
                break
            if CREATE in vars(kind):
                return f"the class {kind.__name__} defines a {CREATE} of its own"
        return None


def _held_by(client: Any) -> dict[str, Any]:
    """A client's own attributes, whatever its class has to say of that."""
    held: dict[str, Any] = object.__getattribute__(client, "__dict__")
    return held


def _value(member: Any) -> str | None:
    """The value of one of a client's enums, which it may keep elsewhere one day."""
    value = getattr(member, "value", None)
    return value if isinstance(value, str) else None


class _Create:
    """`create_fn` on Instructor's class, for as long as any client is observed."""

    def __init__(self, clients: ObservedClients) -> None:
        self._clients = clients

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            raise AttributeError(f"type object {Instructor.__name__!r} has no attribute {CREATE!r}")
        try:
            create = object.__getattribute__(client, "__dict__")[CREATE]
        except KeyError:
            raise AttributeError(
                f"{type(client).__name__!r} object has no attribute {CREATE!r}"
            ) from None
        watched = None
        try:
            watched = self._clients.watched(client, create)
        except Exception as error:
            if not self._clients.swallows(client, error):
                raise
        return create if watched is None else watched

    def __set__(self, client: Any, create: Any) -> None:
        before = _held_by(client).get(CREATE)
        _held_by(client)[CREATE] = create
        try:
            self._clients.replaced(client, before, create)
        except Exception as error:
            if not self._clients.swallows(client, error):
                raise

    def __delete__(self, client: Any) -> None:
        try:
            del _held_by(client)[CREATE]
        except KeyError:
            raise AttributeError(
                f"{type(client).__name__!r} object has no attribute {CREATE!r}"
            ) from None


observed_clients = ObservedClients()

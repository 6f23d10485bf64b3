"""Instructor's clients: which of them are observed, and how that is done without touching one.

Every way to call a client ends in its `create_fn`. A data descriptor on the class is asked before the
instance's own attribute, so that reading it gives the observed function while the client keeps its own:
whenever it was made, and whatever is put there later.
"""

from __future__ import annotations

import inspect
import weakref
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.guard import Guarded
from llm_cache_otel.observe.boundary import ObservedCreate, Switch, bare
from llm_cache_otel.observe.call import Target
from llm_cache_otel.observe.instructor_api import (
    CREATE,
    AsyncInstructor,
    Instructor,
    is_somebody_elses,
)
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.sdk import provider_name


class _Known:
    """An observed client. Told apart by identity: a client may define `__eq__`."""

    __slots__ = ("reference", "switch", "target")

    def __init__(self, reference: weakref.ref[Any], target: Target, *, given: bool) -> None:
        self.reference = reference
        self.target = target
        self.switch = Switch(given=given)


class ObservedClients:
    """The observed clients of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.rlock()
        self._known: dict[int, _Known] = {}
        self._all: Reporter | None = None
        self._create = _Create(self)

    def is_given(self, client: object) -> bool:
        known = self._get(client)
        return known is not None and known.switch.given

    def add(self, client: Any, reporter: Reporter, name: str | None) -> None:
        with self._lock:
            self._forget(id(client))
            self._know(client, reporter, name, given=True)
            self._put_in_place()

    def remove(self, client: Any) -> None:
        with self._lock:
            self._forget(id(client))
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
                if not known.switch.given:
                    self._forget(identity)
            self._clear_away()

    def watched(self, client: Any, create: Any) -> ObservedCreate | None:
        """The observed function in place of a client's `create`; `None` if it is not observed."""
        known, reporter, create = self._get(client), self._all, bare(create)
        if (known is None or not known.switch.given) and is_somebody_elses(create):
            return None
        if known is None and reporter is not None:
            with self._lock:
                known = self._get(client)
                if known is None and self._all is reporter:
                    known = self._know(client, reporter, None, given=False)
        if known is None:
            return None
        asynchronous = isinstance(client, AsyncInstructor) or inspect.iscoroutinefunction(create)
        return ObservedCreate(create, known.target, known.switch, asynchronous=asynchronous)

    def replaced(self, client: Any, create: Any) -> None:
        """Watch no function any more that was handed out for a client: the new one may wrap it."""
        if self._all is not None:
            vars(client)[CREATE] = bare(create)
        known = self._get(client)
        if known is not None and (known.switch.given or not is_somebody_elses(bare(create))):
            known.switch.on = False
            known.switch = Switch(given=known.switch.given)

    def guard(self, client: object) -> Guarded:
        return Guarded("client", lambda where, error: self._report_error(client, where, error))

    def _report_error(self, client: object, where: str, error: Exception) -> None:
        known = self._known.get(id(client))
        reporter = self._all if known is None else known.target.reporter
        if reporter is not None:
            with reporter.guard(where):
                raise error

    def _get(self, client: object) -> _Known | None:
        known = self._known.get(id(client))
        return known if known is not None and known.reference() is client else None

    def _know(self, client: Any, reporter: Reporter, name: str | None, *, given: bool) -> _Known:
        identity, create = id(client), bare(vars(client)[CREATE])
        sdk_client = vars(client).get("client")
        target = Target(
            reporter=reporter,
            name=name,
            sdk_client=sdk_client,
            provider=provider_name(_value(client, "provider"), sdk_client, create),
            mode=_value(client, "mode"),
        )
        # A finalizer: it takes no lock, and the entry of whoever has the identity next stays.
        reference = weakref.ref(client, lambda gone: self._drop(identity, gone))
        self._known[identity] = known = _Known(reference, target, given=given)
        return known

    def _drop(self, identity: int, gone: weakref.ref[Any]) -> None:
        known = self._known.get(identity)
        if known is not None and known.reference is gone:
            self._known.pop(identity, None)

    def _forget(self, identity: int) -> None:
        known = self._known.pop(identity, None)
        if known is not None:
            known.switch.on = False

    def _put_in_place(self) -> None:
        if CREATE not in vars(Instructor):
            setattr(Instructor, CREATE, self._create)

    def _clear_away(self) -> None:
        given = any(known.switch.given for known in list(self._known.values()))
        if not given and self._all is None and vars(Instructor).get(CREATE) is self._create:
            delattr(Instructor, CREATE)

    def obstacle(self, client: Any) -> str | None:
        """Why a client can't be observed, in a user's words; `None` if it can."""
        if CREATE not in vars(client):
            return f"it has no {CREATE}"
        for kind in type(client).__mro__:
            if kind is Instructor:
                break
            if CREATE in vars(kind):
                return f"the class {kind.__name__} defines a {CREATE} of its own"
        return None


def _value(client: Any, attribute: str) -> str | None:
    """The value of one of a client's enums, which it may keep elsewhere one day."""
    value = getattr(vars(client).get(attribute), "value", None)
    return value if isinstance(value, str) else None


class _Create:
    """`create_fn` on Instructor's class, for as long as any client is observed."""

    def __init__(self, clients: ObservedClients) -> None:
        self._clients = clients

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            raise AttributeError(f"type object {Instructor.__name__!r} has no attribute {CREATE!r}")
        try:
            create = vars(client)[CREATE]
        except KeyError:
            raise AttributeError(
                f"{type(client).__name__!r} object has no attribute {CREATE!r}"
            ) from None
        watched = None
        with self._clients.guard(client):
            watched = self._clients.watched(client, create)
        return create if watched is None else watched

    def __set__(self, client: Any, create: Any) -> None:
        vars(client)[CREATE] = create
        with self._clients.guard(client):
            self._clients.replaced(client, create)

    def __delete__(self, client: Any) -> None:
        try:
            del vars(client)[CREATE]
        except KeyError:
            raise AttributeError(CREATE) from None


observed_clients = ObservedClients()

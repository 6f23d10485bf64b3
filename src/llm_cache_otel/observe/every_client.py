"""Observing whatever Instructor makes, without being handed any of it."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.observe import instructor_api
from llm_cache_otel.observe.boundary import ObservedCreate, bare, observed
from llm_cache_otel.observe.clients import observed_clients
from llm_cache_otel.observe.doors import PatchedDoor, patched_door
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.seams import replaced, seams
from llm_cache_otel.observe.target import Target, Watch


class EveryClient:
    """Every client of this process. Thread-safe.

    Instructor's own clients are seen whenever they were made. What `instructor.patch` changes is seen
    from the moment it does: an OpenAI client that it changed before can't be found.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._undo: ExitStack | None = None

    def open(self, reporter: Reporter) -> None:
        with self._lock:
            if self._undo is not None:
                return
            with ExitStack() as undo:  # all of it or nothing
                seams.open_for(self)
                undo.callback(seams.close_for, self)
                seams.expect_all(reporter)
                undo.callback(seams.expect_all, None)
                observed_clients.add_all(reporter)
                undo.callback(observed_clients.remove_all)
                patches = _Patches(reporter)
                undo.callback(patches.close)
                patch = functools.cache(patches.patch)
                for place in instructor_api.patch_places():
                    undo.callback(replaced(*place, patch))
                self._undo = undo.pop_all()

    def close(self) -> None:
        with self._lock:
            undo, self._undo = self._undo, None
            if undo is not None:
                undo.close()


class _Patches:
    """What `instructor.patch` was called for while it was watched."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._functions = Watch(reporter, None, given=False)
        self._lock = forks.lock()
        self._clients: dict[int, tuple[weakref.ref[Any], Watch]] = {}

    def patch(self, wrapped: Callable[..., Any]) -> Callable[..., Any]:
        def patch(*args: Any, **kwargs: Any) -> Any:
            args = tuple(map(bare, args))
            kwargs = {name: bare(value) for name, value in kwargs.items()}
            made = wrapped(*args, **kwargs)
            watched = None
            if self._functions.on:
                with self._reporter.guard("patch"):
                    watched = self._observed(made)
            return made if watched is None else watched

        return patch

    def _observed(self, made: Any) -> ObservedCreate | None:
        """What takes the place of a function that was patched; `None` for a client, changed in place."""
        door = patched_door(made)
        if door is not None:
            self._watch(made, door)
            return None
        if not inspect.isfunction(made):  # nothing that we know, or ours already
            return None
        asynchronous = inspect.iscoroutinefunction(made)
        return observed(made, Target(self._functions), asynchronous=asynchronous)

    def _watch(self, client: Any, door: PatchedDoor) -> None:
        identity = id(client)
        with self._lock:
            if not self._functions.on:
                return
            known = self._clients.get(identity)
            if known is not None:
                known[1].on = False  # patched again: the new function goes through the one before
            watch = Watch(self._reporter, None, given=False)
            reference = weakref.ref(client, lambda gone: self._drop(identity, gone))
            self._clients[identity] = reference, watch
            door.watch(watch)

    def _drop(self, identity: int, gone: weakref.ref[Any]) -> None:
        known = self._clients.get(identity)
        if known is not None and known[0] is gone:
            self._clients.pop(identity, None)

    def close(self) -> None:
        with self._lock:
            self._functions.on = False
            for reference, watch in list(self._clients.values()):
                client = reference()
                door = None if client is None else patched_door(client)
                if door is not None and not door.is_open():
                    door.unwatch()
                watch.on = False


every_client = EveryClient()

"""A function whose answers are cached: look, else run and keep. A cache that fails costs no call."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from pydantic import BaseModel

from llm_cache_otel.caching.entries import Entries
from llm_cache_otel.caching.keys import Keys, UnwritableError
from llm_cache_otel.caching.store import Store
from llm_cache_otel.emit.log import warn_once
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.entry_function import EntryFunctionCall, current_entry


class CachedFunction:
    """A function, and what its answers are kept by."""

    def __init__(
        self,
        function: Any,
        keys: Keys,
        entries: Entries[Any],
        store: Store,
        model: type[BaseModel],
    ) -> None:
        self._function = function
        self._name = function.__qualname__
        self._keys = keys
        self._entries = entries
        self._store = store
        self._model = model
        # Here a store's errors are the host's, and swallowed all the same: that is what was asked for.
        self._guard = Guard(self._failed)

    def wrapper(self) -> Any:
        """The caching function, to be observed."""
        is_async = inspect.iscoroutinefunction(self._function)
        return self._async_wrapper() if is_async else self._sync_wrapper()

    def _sync_wrapper(self) -> Any:
        function, store = self._function, self._store

        @functools.wraps(function)
        def cached(*args: Any, **kwargs: Any) -> Any:
            run = self._run(cached)
            key, found = self._key(run, args, kwargs), None
            with self._guard("get"):
                if key is not None:
                    found = store.get(key, _watch_of(run))
            answer = self._read(run, found)
            if answer is not None:
                return answer
            answer = function(*args, **kwargs)
            entry = self._written(run, key, answer)
            with self._guard("set"):
                if key is not None and entry is not None:
                    store.set(key, entry, _watch_of(run))
            return answer

        return cached

    def _async_wrapper(self) -> Any:
        function, store = self._function, self._store

        @functools.wraps(function)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            run = self._run(cached)
            key, found = self._key(run, args, kwargs), None
            with self._guard("get"):
                if key is not None:
                    found = store.get(key, _watch_of(run))
                    found = await found if store.is_async else found
            answer = self._read(run, found)
            if answer is not None:
                return answer
            answer = await function(*args, **kwargs)
            entry = self._written(run, key, answer)
            with self._guard("set"):
                if key is not None and entry is not None:
                    setting = store.set(key, entry, _watch_of(run))
                    _ = await setting if store.is_async else setting
            return answer

        return cached

    @staticmethod
    def _run(wrapper: Any) -> EntryFunctionCall | None:
        """The observed run of this very function; `None` if it is not observed."""
        run = current_entry.get()
        return run if run is not None and run.target.function is wrapper else None

    def _key(
        self, run: EntryFunctionCall | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str | None:
        try:
            return self._keys.key_of(args, kwargs)
        except UnwritableError as error:
            self._warn(
                f"argument {error.name}",
                f"Calls of {self._name}() are not cached: its argument {error.name!r} can't be written as "
                "JSON, and so can't be part of a key. Pass numbers, strings, lists, dicts, dataclasses or "
                "Pydantic models; of a method, self is an argument.",
            )
            if run is not None:
                with run.guard("key"):
                    run.has_no_key(error.name, self._store.backend)
        return None

    def _read(self, run: EntryFunctionCall | None, found: Any) -> Any | None:
        if found is None:
            return None
        try:
            answer, origin = self._entries.read(found)
        except ValueError as error:
            self._warn(
                "entry",
                f"An entry of {self._name}() can't be read ({type(error).__name__}); the function runs, and "
                "what it returns takes its place.",
            )
            if run is not None:
                with run.guard("entry"):
                    run.is_unreadable()
            return None
        if run is not None:
            with run.guard("entry"):
                run.found(origin)
        return answer

    def _written(self, run: EntryFunctionCall | None, key: str | None, answer: Any) -> str | None:
        """The entry of an answer; `None` if it is not to be stored."""
        if key is None:
            return None
        if not isinstance(answer, self._model):
            self._warn(
                "answer",
                f"An answer of {self._name}() is not cached: it is a {type(answer).__name__}, and no "
                f"{self._model.__name__}, which the function is declared to return.",
            )
            if run is not None:
                with run.guard("answer"):
                    run.is_no_model()
            return None
        origin = None
        if run is not None:
            with run.guard("origin"):
                origin = run.spent()
        try:
            return self._entries.written(answer, origin)
        except Exception as error:
            self._warn(
                "written",
                f"Answers of {self._name}() can't be cached: {self._model.__name__} does not read "
                f"what it writes as JSON ({type(error).__name__}).",
            )
        return None

    def _failed(self, where: str, error: Exception) -> None:
        verb = "read" if where == "get" else "written"
        self._warn(
            (where, type(error).__qualname__),
            f"The cache of {self._name}() can't be {verb} ({type(error).__name__}); calls go on without it.",
        )

    def _warn(self, cause: object, message: str) -> None:
        warn_once(("instructor_cache", self._name, cause), message)


def _watch_of(run: EntryFunctionCall | None) -> Any:
    return None if run is None else run.target.watch

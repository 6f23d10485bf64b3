"""A function whose answers are cached: look, else run and keep. A cache that fails costs no call."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from llm_cache_otel.caching.entries import Entries
from llm_cache_otel.caching.keys import Keys
from llm_cache_otel.caching.store import Store
from llm_cache_otel.emit.log import warn_once
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.entry_function import EntryFunctionCall, current_entry
from llm_cache_otel.observe.errors import is_closing
from llm_cache_otel.observe.store_methods import ObservedStore


class CachedFunction:
    """A function, and what its answers are kept by."""

    def __init__(self, function: Any, keys: Keys, entries: Entries[Any], store: Store) -> None:
        self._function = function
        self._name = function.__qualname__
        self._keys = keys
        self._entries = entries
        self._store = store
        # Here a store's errors are the host's, and swallowed all the same: that is what was asked for. So
        # are those of arguments and models, which are the host's as well. What comes of closing a
        # coroutine goes on, or the coroutine would.
        self._guard = Guard(self._failed, passes=is_closing)

    def wrapper(self) -> Any:
        """The caching function, to be observed."""
        is_async = inspect.iscoroutinefunction(self._function)
        return self._async_wrapper() if is_async else self._sync_wrapper()

    def _sync_wrapper(self) -> Any:
        function, store, guard = self._function, self._store, self._guard

        @functools.wraps(function)
        def cached(*args: Any, **kwargs: Any) -> Any:
            run = observed = key = found = answer = entry = None
            with guard("key"):
                run, observed, key = self._asked(cached, args, kwargs)
            with guard("get"):
                if key is not None:
                    found = store.get(key, observed)
            with guard("read"):
                answer = self._read(run, found)
            if answer is not None:
                return answer
            answer = function(*args, **kwargs)
            with guard("write"):
                entry = self._written(run, key, answer)
            with guard("set"):
                if key is not None and entry is not None:
                    store.set(key, entry, observed)
            return answer

        return cached

    def _async_wrapper(self) -> Any:
        function, store, guard = self._function, self._store, self._guard

        @functools.wraps(function)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            run = observed = key = found = answer = entry = None
            with guard("key"):
                run, observed, key = self._asked(cached, args, kwargs)
            with guard("get"):
                if key is not None:
                    getting = store.get(key, observed)
                    found = await getting if store.is_async else getting
            with guard("read"):
                answer = self._read(run, found)
            if answer is not None:
                return answer
            answer = await function(*args, **kwargs)
            with guard("write"):
                entry = self._written(run, key, answer)
            with guard("set"):
                if key is not None and entry is not None:
                    setting = store.set(key, entry, observed)
                    _ = await setting if store.is_async else setting
            return answer

        return cached

    def _asked(
        self, wrapper: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[EntryFunctionCall | None, ObservedStore | None, str | None]:
        """The run and the use of the store, as far as they are observed; and the key, if there is one."""
        run, observed = _run_of(wrapper), None
        if run is not None:
            with run.guard("store"):
                observed = run.observed(self._store.cache)
        return run, observed, self._key(run, args, kwargs)

    def _key(
        self, run: EntryFunctionCall | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str | None:
        key = self._keys.key_of(args, kwargs)
        argument = key.unwritable
        if argument is not None:
            if run is not None:
                with run.guard("key"):
                    run.has_no_key(argument)
            self._warn(
                ("argument", argument),
                f"Calls of {self._name}() are not cached: its argument {argument!r} can't be part of a key. "
                "Numbers, texts, bytes, times, enums, lists, sets, dicts, dataclasses and Pydantic models "
                "can, and what is made of these; of a method, self is an argument.",
            )
        return key.text

    def _read(self, run: EntryFunctionCall | None, found: Any) -> Any | None:
        if found is None:
            return None
        answer = None
        with Guard(lambda _, error: self._is_unreadable(run, error))("entry"):
            answer, origin = self._entries.read(found)
        if answer is not None and run is not None:
            with run.guard("entry"):
                run.found(origin)
        return answer

    def _is_unreadable(self, run: EntryFunctionCall | None, error: Exception) -> None:
        if run is not None:
            with run.guard("entry"):
                run.is_unreadable()
        self._warn(
            "entry",
            f"An entry of {self._name}() can't be read ({type(error).__name__}); the function runs, and what "
            "it returns takes the entry's place.",
        )

    def _written(self, run: EntryFunctionCall | None, key: str | None, answer: Any) -> str | None:
        """The entry of an answer; `None` if it is not to be stored."""
        if key is None:
            return None
        model = self._entries.model
        if not isinstance(answer, model):
            if run is not None:
                with run.guard("answer"):
                    run.is_no_model()
            self._warn(
                "answer",
                f"An answer of {self._name}() is not cached: it is a {type(answer).__name__}, and no "
                f"{model.__name__}, which the function is declared to return.",
            )
            return None
        origin = None
        if run is not None:
            with run.guard("origin"):
                origin = run.spent()
        with Guard(self._is_unwritable)("entry"):
            return self._entries.written(answer, origin)
        return None

    def _is_unwritable(self, _: str, error: Exception) -> None:
        model = self._entries.model.__name__
        self._warn(
            "written",
            f"Answers of {self._name}() are not cached: what {model} writes as JSON it does not read as the "
            f"same again ({type(error).__name__}: see its excluded fields, aliases, serializers and "
            "validators, and whether the answer is of a class derived from it).",
        )

    def _failed(self, _: str, error: Exception) -> None:
        kind = type(error).__name__
        self._warn(
            ("failed", kind), f"The cache of {self._name}() fails ({kind}); calls go on without it."
        )

    def _warn(self, cause: object, message: str) -> None:
        warn_once(("instructor_cache", self._function.__module__, self._name, cause), message)


def _run_of(wrapper: Any) -> EntryFunctionCall | None:
    """The observed run of this very function; `None` if it is not observed."""
    run = current_entry.get()
    if run is not None:
        with run.guard("run"):
            return run if run.is_of(wrapper) else None
    return None

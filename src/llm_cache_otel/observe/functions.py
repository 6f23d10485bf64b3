"""The observed functions of this process, and how one becomes such."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any
from weakref import WeakKeyDictionary

from llm_cache_otel.observe.entry_function import EntryFunctionCall
from llm_cache_otel.observe.function_cache import LruCached, observed_cache
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.store_function import observed_function
from llm_cache_otel.observe.target import Watch

_watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()
"""Of what was handed out. A decorator that copies a function's attributes is not taken for it."""


def no_function(target: object) -> str | None:
    """How to mend that something like a function can't be observed; `None` of what is not like one."""
    if isinstance(target, types.MethodType):
        return "Instrument the function in its class, above @functools.cache."
    if isinstance(target, (staticmethod, classmethod)):
        kind = type(target).__name__
        return f"Write @{kind} above @instrument."
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        return "It makes a generator, which can't be cached: hand in the function that caches."
    if isinstance(target, functools.partial):
        return "Hand in the function before it is changed by functools.partial."
    return None


def is_function(target: object) -> bool:
    """Whether it is one that can be observed: plain, async, a method, or behind `functools.lru_cache`."""
    if isinstance(target, types.MethodType):
        target = target.__func__
        if isinstance(target, LruCached):
            return False
    is_plain = isinstance(target, types.FunctionType)
    is_generator = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
    return isinstance(target, LruCached) or (is_plain and not is_generator)


class FunctionDoor:
    """A function (`llm_cache_otel.observe.doors.Door`)."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._watch = _watches.get(getattr(function, "__func__", function))

    def obstacle(self) -> str | None:
        cached = isinstance(self._function, LruCached)
        if cached and inspect.iscoroutinefunction(self._function.__wrapped__):
            name = self._function.__wrapped__.__name__
            return (
                f"{name}() is an async function, of which functools.cache keeps a coroutine that can be "
                "awaited only once. Cache what it returns instead, for example in a dict or a store"
            )
        return None

    def is_open(self) -> bool:
        return self._watch is not None and self._watch.on and self._watch.given

    def open(self, reporter: Reporter, name: str | None) -> Any:
        """The observed function that takes its place; of one that was observed before, that."""
        if self._watch is not None:
            if not self._watch.given:  # what its decorator was told
                name = name or self._watch.name
            self._watch.tell(reporter, name, given=True)
            self._watch.on = True
            return self._function
        watch = Watch(reporter, name, given=True)
        observe = observed_cache if isinstance(self._function, LruCached) else observed_function
        observed = observe(self._function, watch)
        _watches[observed] = watch
        return observed

    def open_decorated(self, reporter: Reporter, name: str | None) -> Any:
        """As `open`, of what this package's decorator made; `instrument` may say more of it."""
        watch = Watch(reporter, name, given=False)
        observed = observed_function(self._function, watch, EntryFunctionCall)
        _watches[observed] = watch
        return observed

    def close(self) -> None:
        if self._watch is not None:
            self._watch.on = False

"""The observed functions of this process, and how one becomes such."""

from __future__ import annotations

import inspect
import types
from typing import Any
from weakref import WeakKeyDictionary

from llm_cache_otel.observe.call import Watch
from llm_cache_otel.observe.entry_function import EntryFunctionCall
from llm_cache_otel.observe.function_cache import LruCached, observed_cache
from llm_cache_otel.observe.ports import Reporter
from llm_cache_otel.observe.store_function import observed_function

_watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()
"""Of what was handed out. A decorator that copies a function's attributes is not taken for it."""


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
        self._watch = _watches.get(function)

    def obstacle(self) -> str | None:
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

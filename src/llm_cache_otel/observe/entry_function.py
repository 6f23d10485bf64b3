"""Functions behind this package's own decorator, which knows of an entry what others do not tell."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from llm_cache_otel.facts import (
    AnswerKind,
    CacheGiven,
    Diagnosis,
    Interval,
    KeyFacts,
    LookupFacts,
    Miss,
    MissReason,
    Origin,
)
from llm_cache_otel.observe import adapter
from llm_cache_otel.observe.function_call import FunctionTarget
from llm_cache_otel.observe.store_function import StoreFunctionCall
from llm_cache_otel.observe.store_methods import ObservedStore
from llm_cache_otel.observe.stores import is_async


class EntryFunctionCall(StoreFunctionCall):
    """One run. The decorator tells what it makes of the entry it finds."""

    cache = CacheGiven.ADAPTER

    def __init__(
        self, target: FunctionTarget, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._is_taken = False
        self._is_found = False
        super().__init__(target, args, kwargs)

    def current(self) -> dict[Any, object]:
        return {**super().current(), current_entry: self}

    def is_of(self, function: object) -> bool:
        """Whether it is this function's run, the first time that it asks: it may call itself, unobserved."""
        if self._is_taken or self.target.function is not function:
            return False
        self._is_taken = True
        return True

    def observed(self, store: Any) -> ObservedStore:
        """What has the decorator's own use of its store observed, and told by this run."""
        traits, watch = adapter.traits_of(store), self.target.watch
        self.backend = traits.backend
        if traits.is_auto and traits.size_watched_by() is not watch.reporter:
            with self.guard("cache size"):
                adapter.watch_size(watch.reporter, store, traits, watch.name)
        return ObservedStore(
            weakref.ref(store), watch.reporter, self.backend, watch.name, is_async(store)
        )

    def note(self, *asked: Any) -> bool:
        """Of a run that has no key nothing is the decorator's."""
        has_none = self.key is not None and self.key.key is None
        return not has_none and super().note(*asked)

    def found(self, origin: Origin | None) -> None:
        """Note an answer that was found, and what it took whoever stored it, if that is known."""
        self._is_found = True
        self.origin = origin
        self.spending.add(())  # whoever calls this function is seen to spend nothing here

    def is_unreadable(self) -> None:
        """Note that what was found is no entry, and is made anew."""
        self.diagnosis = Diagnosis(Miss(MissReason.ENTRY_INVALID))

    def has_no_key(self, argument: str) -> None:
        """Note that an argument can't be part of a key, so that a cache is not asked."""
        now = self.clock.now()
        self.key = KeyFacts(Interval(self._start_ns, now), None, f"argument.{argument}")

    def is_no_model(self) -> None:
        """Note that what the function returned is not what it is declared to."""
        self.answer = AnswerKind.NOT_A_MODEL

    def spent(self) -> Origin:
        """What it took up to now."""
        return self.spending.origin((self.clock.now() - self._start_ns) / 1e9)

    def lookup(self, error: BaseException | None) -> LookupFacts | None:
        """As the decorator has told: validators of what was found may ask a provider themselves."""
        got = self._got
        if got is None:
            return None
        return LookupFacts(
            got.interval,
            self._is_found,
            got,
            error_type=got.error_type,
            interrupted=got.interrupted,
            scope=got.scope,
        )


current_entry: ContextVar[EntryFunctionCall | None] = ContextVar(
    "llm_cache_otel_entry", default=None
)
"""The run of the innermost function behind this package's decorator."""

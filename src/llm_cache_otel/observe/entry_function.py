"""Functions behind this package's own decorator, which knows of an entry what others do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from llm_cache_otel.facts import (
    AnswerKind,
    CacheGiven,
    Interval,
    KeyFacts,
    LookupFacts,
    Miss,
    MissReason,
    Origin,
)
from llm_cache_otel.observe.function_call import FunctionTarget
from llm_cache_otel.observe.store_function import StoreFunctionCall


class EntryFunctionCall(StoreFunctionCall):
    """One run. The decorator tells what it makes of the entry it finds."""

    cache = CacheGiven.ADAPTER

    def __init__(
        self, target: FunctionTarget, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._is_unreadable = False
        super().__init__(target, args, kwargs)

    def current(self) -> dict[Any, object]:
        return {**super().current(), current_entry: self}

    def found(self, origin: Origin | None) -> None:
        """Note an answer that was found, and what it took whoever stored it, if that is known."""
        self.origin = origin

    def is_unreadable(self) -> None:
        """Note that what was found is no entry, and is made anew."""
        self._is_unreadable = True
        self.miss = Miss(MissReason.ENTRY_INVALID)

    def has_no_key(self, argument: str, backend: str) -> None:
        """Note that an argument can't be part of a key, so that a cache is not asked."""
        self.backend = backend
        now = self.clock.now()
        self.key = KeyFacts(Interval(self._start_ns, now), None, f"argument.{argument}")

    def is_no_model(self) -> None:
        """Note that what the function returned is not what it is declared to."""
        self.answer = AnswerKind.NOT_A_MODEL

    def spent(self) -> Origin:
        """What it took up to now."""
        return self.spending.origin((self.clock.now() - self._start_ns) / 1e9)

    def lookup(self, error: BaseException | None) -> LookupFacts | None:
        found = super().lookup(error)
        if found is None or not self._is_unreadable:
            return found
        return LookupFacts(found.interval, hit=False, get=found.get, scope=found.scope)


current_entry: ContextVar[EntryFunctionCall | None] = ContextVar(
    "llm_cache_otel_entry", default=None
)
"""The run of the innermost function behind this package's decorator."""

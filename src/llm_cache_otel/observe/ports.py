"""What observing needs from the rest of the house: the one joint, seen from this side."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol

from llm_cache_otel.facts import (
    AskedFor,
    BackendFacts,
    CallFacts,
    Diagnosis,
    FunctionHits,
    History,
    Interval,
    Neighbour,
    OpeningParts,
    Scope,
)
from llm_cache_otel.guard import Guard

CacheSize = tuple[int, int | None]
"""Entries held and entries there is room for, if that is limited."""


class CacheHistory(History, Protocol):
    """Takes what a cache is asked for and given, in the process's own time, and tells why it misses."""

    def hit(self, key: str, start: int, end: int) -> None:
        """Found, from `start` to `end`. Noted later, it must be before a later miss is made."""
        ...

    def used(self, found: Iterable[tuple[str, int]]) -> None:
        """Hits of a cache without TTLs: under which key, and when, in order."""
        ...

    def missed(
        self,
        key: str,
        got: Interval,
        request: Callable[[], AskedFor | None],
        *,
        capacity: int | None,
    ) -> Diagnosis: ...

    def stored(self, key: str, during: Interval, ttl: float | None) -> None: ...

    def cleared(self, by: float) -> None:
        """All that was there `by` a time is gone, dropped by the program itself."""
        ...

    def ended(self, key: str) -> None:
        """A call that has missed ends. A finalizer may be what tells."""
        ...


class Ended(Protocol):
    """A call that is over."""

    def facts(self) -> CallFacts: ...

    def tell(self) -> None:
        """Have whoever was told that it ended say what it was."""
        ...


class Reporter(Protocol):
    """Takes finished facts, and opens the scopes that observed host code runs in."""

    guard: Guard

    @property
    def prices(self) -> object:
        """What its clients' answers cost; opaque."""
        ...

    @property
    def tells_hits_apart(self) -> bool:
        """Whether each hit of a function's cache in memory is to be told as a call of its own."""
        ...

    def open(
        self,
        opening: OpeningParts,
        within: Scope | None = None,
        *,
        current: object = None,
    ) -> Scope:
        """A scope whose parent is the current one of the caller's context, which may be given as `current`.

        `within` is the scope of the call that it is a part of: the whole of a call goes to one place. What is
        known of it is asked for when its span is made, which mostly is later.
        """
        ...

    def open_attempt(
        self, opening: OpeningParts, neighbours: tuple[Neighbour, ...], within: Scope
    ) -> Scope:
        """The same for an attempt, which somebody else may tell."""
        ...

    def current(self) -> object | None:
        """The caller's context; `None` if nothing that runs in it is to be observed."""
        ...

    def is_suppressed(self) -> bool:
        """Whether nothing that runs in this context is to be observed."""
        ...

    def missed_call(self) -> None:
        """Note that a call went by which could not be observed, though all should be."""
        ...

    def finished(self, facts: CallFacts | BackendFacts, *, dropped: bool = False) -> None:
        """Say what happened. Each fact is handed over once.

        `dropped` where a finalizer may be what tells: then nothing may be done that takes a lock.
        """
        ...

    def ended(self, call: Ended, *, dropped: bool = False) -> None:
        """Say what a call was, whose facts are made when it is said. `dropped` as of `finished`."""
        ...

    def tell(self, call: Ended) -> None:
        """Say it now."""
        ...

    def function_hits(self, facts: FunctionHits, *, dropped: bool = False) -> None:
        """Say what a function's cache in memory has answered: several hits at once.

        `dropped` as of `finished`.
        """
        ...

    def before_collection(self, work: weakref.WeakMethod[Callable[[], None]]) -> None:
        """Have `work` done whenever metrics are collected, for as long as it lives; it guards itself."""
        ...

    def ready(self) -> None:
        """Have a pipeline, if one is needed that this process has not."""
        ...

    def digest(self, text: str) -> str:
        """The salted digest of a text, 16 hex digits."""
        ...

    def knows(self, key: str, response_id: str | None) -> bool:
        """Whether it is known what the call took that stored the entry of this key, of that response."""
        ...

    def longest_prompt(self) -> int | None:
        """How many characters of a prompt may wait to be told of now; `None` if any number."""
        ...

    def is_uncached(
        self, models: tuple[str | None, str | None, str | None], reported: object
    ) -> bool:
        """Whether it is certain that nothing is told by a prompt, of what was reported of its inference.

        `models` is a provider, the model that it was asked for, and the one that answered.
        """
        ...

    def history_of(
        self, cache: object, place: Hashable | None, honours_ttl: Callable[[Any], bool | None]
    ) -> CacheHistory:
        """Of this very cache, or of all that are at one `place`."""
        ...

    def watch_size(
        self,
        cache: object,
        size: Callable[[object], CacheSize],
        backend: str,
        name: str | None,
    ) -> None:
        """Ask `size(cache)` at every collection for as long as the cache lives; once per cache."""
        ...

"""The histories of a process's caches: of each, or of all that are at one place."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.interpret.miss_reason import CacheHistory

_ALL_TOGETHER = 4
_MOST_PLACES = 64
_AT_ONCE = 1_024
_NOBODY: tuple[Callable[[], object], CacheHistory | None] = lambda: None, None


class Histories:
    """The histories of all caches that live, and of the latest 64 places. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._generation = forks.generation
        self._made: dict[int, tuple[weakref.ref[object], CacheHistory]] = {}
        self._places: OrderedDict[Hashable, CacheHistory] = OrderedDict()

    def of(
        self, cache: object, place: Hashable | None, honours_ttl: Callable[[Any], bool | None]
    ) -> CacheHistory:
        """Of the cache itself, or of all that are at one `place`.

        Raises:
            TypeError: the cache can't be referred to weakly.
        """
        # As `_known`, in fewer steps.
        if place is None and self._generation == forks.generation:
            reference, history = self._made.get(id(cache), _NOBODY)
            if reference() is cache and history is not None:
                return history
        known = self._known(cache, place)
        if known is not None:
            return known
        made = CacheHistory(
            honours_ttl=honours_ttl(cache), share=self._share, others_store=place is not None
        )
        with self._lock:
            if self._generation != forks.generation:  # what a parent has seen, this process has not
                self._made.clear()
                self._places.clear()
                self._generation = forks.generation
            known = self._known(cache, place)
            if known is None:
                self._keep(cache, place, made)
        return known or made

    def settle(self) -> None:
        """Of each, but no more than takes a moment: whoever has a call told has its miss explained first."""
        for history in [*self._places.values(), *(known for _, known in [*self._made.values()])]:
            history.settle(_AT_ONCE)

    def _known(self, cache: object, place: Hashable | None) -> CacheHistory | None:
        if self._generation != forks.generation:
            return None
        if place is not None:
            if place in self._places:
                self._places.move_to_end(place)
            return self._places.get(place)
        reference, history = self._made.get(id(cache), (None, None))
        return history if reference is not None and reference() is cache else None

    def _keep(self, cache: object, place: Hashable | None, history: CacheHistory) -> None:
        if place is not None:
            self._places[place] = history
            if len(self._places) > _MOST_PLACES:
                self._places.popitem(last=False)
            return
        identity = id(cache)

        def drop(gone: weakref.ref[object]) -> None:  # a finalizer, which takes no lock
            if self._made.get(identity, (None,))[0] is gone:
                self._made.pop(identity, None)

        self._made[identity] = weakref.ref(cache, drop), history

    def _share(self) -> float:
        """All together may keep as much as four that are alone."""
        return min(1.0, _ALL_TOGETHER / max(1, len(self._made) + len(self._places)))


histories = Histories()

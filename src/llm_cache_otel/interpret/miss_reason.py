"""Why a lookup found nothing, told from what this process has seen of this cache before.

https://python.useinstructor.com/concepts/caching/ tells what Instructor makes keys of.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from llm_cache_otel import forks
from llm_cache_otel.facts import Interval, KeyedRequest, Miss, MissReason
from llm_cache_otel.interpret.earlier_requests import EarlierRequests, Request
from llm_cache_otel.interpret.fingerprint import digest

_MOST_KEYS = 8_192
_FEWEST_KEYS = 64
_ALL_TOGETHER = 4
_MOST_PLACES = 64
_MOST_COUNTED = 256
"""Evicted entries, of each cache, of which it is counted how much room would have held them."""

_MOST_FOUND = 4_096
"""Hits that wait to be noted, until somebody misses, or `settle`."""

_LATENESS_NS = 1_000_000_000
"""That backends may take to drop what has expired: Redis and diskcache know seconds."""


@dataclass(slots=True, eq=False)
class _Key:
    """What is known of a key, `as_of` a time.

    `there_since` is when it was stored or found, `None` if it is not there; `expires` the earliest time that
    its TTL can have run out, and `outlives` one when it surely had. `asking` is how many calls go on that
    have missed it, and `is_described` whether its request is among the earlier ones.
    """

    as_of: int
    there_since: int | None = None
    expires: int | None = None
    outlives: int | None = None
    asking: int = 0
    is_described: bool = False


class CacheHistory:
    """What one cache was asked for and given. Times are of `time.perf_counter_ns`. Thread-safe.

    `share` is how much of what one cache alone may keep it may, from 0 to 1: several have to share. What
    `others_store` in, other processes may have stored anew what is found after its time.
    """

    def __init__(
        self,
        *,
        honours_ttl: bool | None,
        share: Callable[[], float] = lambda: 1.0,
        others_store: bool = False,
    ) -> None:
        self._lock = forks.lock()
        self._share = share
        self._honours_ttl = honours_ttl
        self._others_store = others_store
        self._cleared: float = -inf
        self._keys: OrderedDict[int, _Key] = OrderedDict()  # the latest used last
        self._requests = EarlierRequests()
        self._ended: deque[int] = deque()
        self._found: deque[tuple[str, int]] = deque()
        self._evictions = 0
        self._room_needed = 0

    @property
    def honours_ttl(self) -> bool | None:
        """Whether it heeds a `ttl`; `None` if that can't be told."""
        return self._honours_ttl

    def hit(self, key: str, got: Interval) -> None:
        if self._honours_ttl is False:  # so nothing is told from it before the next miss
            self._found.append((key, got.end_ns))
            if len(self._found) >= _MOST_FOUND:
                self.settle()
            return
        with self._locked():
            known = self._used(digest(key), got.end_ns)
            if known.outlives is not None and got.start_ns > known.outlives:
                known.expires = known.outlives = None
                if not self._others_store:
                    self._honours_ttl = False
            if got.end_ns >= known.as_of:
                _is_there(known, got.end_ns)

    def settle(self) -> None:
        """Note the hits that wait for it: they should cost their callers little."""
        if self._found:
            with self._locked():
                pass

    def used(self, found: Iterable[tuple[str, int]]) -> None:
        """Hits of a cache without TTLs: under which key, and when, in order."""
        with self._locked():
            self._note(found)

    def _note(self, found: Iterable[tuple[str, int]]) -> None:
        for key, when in found:
            known = self._used(digest(key), when)
            if when >= known.as_of:
                _is_there(known, when)

    def missed(
        self,
        key: str,
        got: Interval,
        request: Callable[[], KeyedRequest | None],
        *,
        capacity: int | None,
    ) -> Miss | None:
        """Why; and note that the key is asked for, until `ended`. `None` where nothing tells.

        `request` is called if the key was not described before, and may say that it can't be read. `capacity`
        is how many entries an LRU holds that is full, `None` of any other cache.
        """
        name = digest(key)
        with self._locked():
            known = self._keys.get(name)
            is_described = known is not None and known.is_described
        asked = None if is_described else request()
        described = None if asked is None else Request(asked)
        with self._locked():
            known = self._keys.get(name)
            miss = None
            if known is not None:
                miss = self._why_gone(name, known, got, capacity)
            elif described is not None:
                miss = self._requests.compare(described)
            known = self._used(name, got.start_ns)
            if described is not None and not known.is_described:
                self._requests.add(described, self._share())
                known.is_described = True
            known.asking += 1
            known.as_of = max(known.as_of, got.start_ns)
            if known.there_since is not None and known.there_since <= got.start_ns:
                known.there_since = None
        return miss

    def stored(self, key: str, during: Interval, ttl: float | None) -> None:
        with self._locked():
            known = self._used(digest(key), during.end_ns)
            if during.end_ns < known.as_of:
                return
            _is_there(known, during.end_ns)
            known.expires = known.outlives = None
            if ttl is not None and self._honours_ttl:
                kept_ns = round(ttl * 1e9)
                known.expires = during.start_ns + kept_ns
                known.outlives = during.end_ns + kept_ns + _LATENESS_NS

    def cleared(self, by: float) -> None:
        """All that was there `by` a time is gone, dropped by the program itself."""
        self._cleared = by

    def ended(self, key: str) -> None:
        """A call that had missed has ended. What it has stored was told before. Takes no lock."""
        self._ended.append(digest(key))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            if self._found:
                self._note(self._taken())
            while self._ended:
                known = self._keys.get(self._ended.popleft())
                if known is not None:
                    known.asking = max(0, known.asking - 1)
            yield

    def _taken(self) -> Iterator[tuple[str, int]]:
        while self._found:
            yield self._found.popleft()

    def _used(self, name: int, now: int) -> _Key:
        known = self._keys.get(name)
        if known is None:
            known = self._keys[name] = _Key(now)
            most = max(_FEWEST_KEYS, int(_MOST_KEYS * self._share()))
            while len(self._keys) > most:
                self._keys.popitem(last=False)
        self._keys.move_to_end(name)
        return known

    def _why_gone(self, name: int, known: _Key, got: Interval, capacity: int | None) -> Miss:
        """Of a key that was asked for before."""
        if known.there_since is None or known.there_since > got.start_ns:
            is_coming = known.asking or known.there_since is not None
            return Miss(MissReason.IN_FLIGHT if is_coming else MissReason.NOT_STORED)
        if known.expires is not None and got.end_ns >= known.expires:
            return Miss(MissReason.EXPIRED)
        if capacity is None or known.as_of <= self._cleared:
            return Miss(MissReason.LOST)
        self._evictions += 1
        if self._evictions <= _MOST_COUNTED:
            self._room_needed = max(self._room_needed, self._used_since(name))
        return Miss(
            MissReason.EVICTED,
            evictions=self._evictions,
            capacity=capacity,
            room_needed=self._room_needed,
        )

    def _used_since(self, name: int) -> int:
        """How many entries an LRU would have to hold to have this one still: all used since, and it."""
        room = 0
        for later, known in reversed([*self._keys.items()]):
            room += known.there_since is not None or later == name
            if later == name:
                break
        return room


def _is_there(known: _Key, now: int) -> None:
    known.as_of = now
    if known.there_since is None:
        known.there_since = now


class Histories:
    """The histories of all caches that live, and of the latest 64 places. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._generation = forks.generation
        self._made: dict[int, tuple[weakref.ref[object], CacheHistory]] = {}
        self._places: OrderedDict[Hashable, CacheHistory] = OrderedDict()

    def of(
        self, cache: object, place: Hashable | None, honours_ttl: Callable[[], bool | None]
    ) -> CacheHistory:
        """Of the cache itself, or of all that are at one `place`.

        Raises:
            TypeError: the cache can't be referred to weakly.
        """
        known = self._known(cache, place)
        if known is not None:
            return known
        made = CacheHistory(
            honours_ttl=honours_ttl(), share=self._share, others_store=place is not None
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
        """Of each."""
        for history in [*self._places.values(), *(known for _, known in [*self._made.values()])]:
            history.settle()

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

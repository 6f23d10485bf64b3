"""Why a lookup found nothing, told from what this process has seen of this cache before.

https://python.useinstructor.com/concepts/caching/ tells what Instructor makes keys of.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import Diagnosis, Interval, KeyedRequest, Miss, MissReason
from llm_cache_otel.interpret.earlier_requests import EarlierRequests, Request
from llm_cache_otel.interpret.fingerprint import digest

_MOST_KEYS = 8_192
_FEWEST_KEYS = 64
_MOST_COUNTED = 256
"""Evicted entries, of each cache, of which it is counted how much room would have held them."""

_MOST_NOTED = 4_096
_MOST_TEXT = 4_000_000
"""What may wait for `settle`, and how many characters of prompts with it."""

_LATENESS_NS = 1_000_000_000
"""That backends may take to drop what has expired: Redis and diskcache know seconds."""


@dataclass(slots=True, eq=False, repr=False)
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

    Whoever asks it only notes that, in order and without a lock; what it means is found out by `settle`.

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
        self._noted: deque[tuple[Any, ...]] = deque()
        self._noted_text = 0
        self._evictions = 0
        self._room_needed = 0

    @property
    def honours_ttl(self) -> bool | None:
        """Whether it heeds a `ttl`; `None` if that can't be told."""
        self.settle()
        return self._honours_ttl

    def hit(self, key: str, got: Interval) -> None:
        self._note(CacheHistory._take_hit, key, got)

    def used(self, found: Iterable[tuple[str, int]]) -> None:
        """Hits of a cache without TTLs: under which key, and when, in order."""
        self._note(CacheHistory._take_used, [*found])

    def missed(
        self,
        key: str,
        got: Interval,
        request: Callable[[], KeyedRequest | None],
        *,
        capacity: int | None,
    ) -> Diagnosis:
        """Note that the key is asked for, until `ended`; and why it was missed will be in what this returns.

        `request` is called if the key was not described before, and may say that it can't be read. `capacity`
        is how many entries an LRU holds that is full, `None` of any other cache.
        """
        known = self._keys.get(digest(key))
        asked = None if known is not None and known.is_described else request()
        if asked is not None:
            self._noted_text += sum(len(section.text) for section in asked.messages)
        diagnosis = Diagnosis()
        self._note(CacheHistory._take_missed, diagnosis, key, got, asked, capacity)
        return diagnosis

    def stored(self, key: str, during: Interval, ttl: float | None) -> None:
        self._note(CacheHistory._take_stored, key, during, ttl)

    def cleared(self, by: float) -> None:
        """All that was there `by` a time is gone, dropped by the program itself."""
        self._note(CacheHistory._take_cleared, by)

    def ended(self, key: str) -> None:
        """A call that had missed has ended. What it has stored was told before. A finalizer may tell."""
        self._noted.append((CacheHistory._take_ended, key))

    def _note(self, *noted: Any) -> None:
        self._noted.append(noted)
        if len(self._noted) >= _MOST_NOTED or self._noted_text >= _MOST_TEXT:
            self.settle()

    def settle(self) -> None:
        """Find out what all means that was noted. A failure with one thing does not keep others from it.

        Raises:
            Exception: the first of the failures.
        """
        if not self._noted:
            return
        failure = None
        with self._lock:
            self._noted_text = 0
            while self._noted:
                take, *noted = self._noted.popleft()
                try:
                    take(self, *noted)
                except Exception as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def _take_hit(self, key: str, got: Interval) -> None:
        known = self._used(digest(key), got.end_ns)
        if known.outlives is not None and got.start_ns > known.outlives:
            known.expires = known.outlives = None
            if not self._others_store:
                self._honours_ttl = False
        if got.end_ns >= known.as_of:
            _is_there(known, got.end_ns)

    def _take_used(self, found: Iterable[tuple[str, int]]) -> None:
        for key, when in found:
            known = self._used(digest(key), when)
            if when >= known.as_of:
                _is_there(known, when)

    def _take_missed(
        self,
        diagnosis: Diagnosis,
        key: str,
        got: Interval,
        asked: KeyedRequest | None,
        capacity: int | None,
    ) -> None:
        name = digest(key)
        known = self._keys.get(name)
        is_described = known is not None and known.is_described
        described = None if asked is None or is_described else Request(asked)
        if known is not None:
            diagnosis.miss = self._why_gone(name, known, got, capacity)
        elif described is not None:
            diagnosis.miss = self._requests.compare(described)
        known = self._used(name, got.start_ns)
        if described is not None:
            self._requests.add(described, self._share())
            known.is_described = True
        known.asking += 1
        known.as_of = max(known.as_of, got.start_ns)
        if known.there_since is not None and known.there_since <= got.start_ns:
            known.there_since = None

    def _take_stored(self, key: str, during: Interval, ttl: float | None) -> None:
        known = self._used(digest(key), during.end_ns)
        if during.end_ns < known.as_of:
            return
        _is_there(known, during.end_ns)
        known.expires = known.outlives = None
        if ttl is not None and self._honours_ttl:
            kept_ns = round(ttl * 1e9)
            known.expires = during.start_ns + kept_ns
            known.outlives = during.end_ns + kept_ns + _LATENESS_NS

    def _take_cleared(self, by: float) -> None:
        self._cleared = by

    def _take_ended(self, key: str) -> None:
        known = self._keys.get(digest(key))
        if known is not None:
            known.asking = max(0, known.asking - 1)

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

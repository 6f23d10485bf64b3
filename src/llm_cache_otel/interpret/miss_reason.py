"""Why a lookup found nothing, told from what this process has seen of this cache before.

https://python.useinstructor.com/concepts/caching/ tells what Instructor makes keys of.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from math import inf, isfinite
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.facts import AskedFor, Diagnosis, Interval, Miss, MissReason
from llm_cache_otel.interpret.earlier_requests import EarlierRequests, Request
from llm_cache_otel.interpret.fingerprint import digest
from llm_cache_otel.interpret.known_key import KnownKey

_MOST_KEYS = 8_192
_FEWEST_KEYS = 64
_MOST_COUNTED = 256
"""Evicted entries, of each cache, of which it is counted how much room would have held them."""

_MOST_NOTED = 4_096
_MOST_TEXT = 4_000_000
"""What may wait to be taken in, and how many characters of requests with it."""

_FEW, _SOME = 8, 64
_PATIENCE = 0.05
"""Seconds that `relieve` waits for another who takes in, where twice as much waits."""

_LATENESS_NS = 1_000_000_000
"""That backends may take to drop what has expired: Redis and diskcache know seconds."""


_Noted = tuple[Callable[..., None], tuple[Any, ...], int]
"""How what was noted is to be taken in, that, and how many characters are in it."""


class CacheHistory:
    """What one cache was asked for and given. Times are of `time.perf_counter_ns`. Thread-safe.

    Whoever asks it only notes that, in order and without a lock; what it means is found out later. Hits may
    be noted after what came after them, for nobody waits for that. `share` is how much of what one cache
    alone may keep it may, from 0 to 1: several have to share. What `others_store` in, other processes may
    have stored anew what is found after its time.
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
        self._keys: OrderedDict[int, KnownKey] = OrderedDict()  # the latest used last
        self._requests = EarlierRequests()
        self._noted: deque[_Noted] = deque()
        self._hits: deque[tuple[str, int, int]] = deque()
        self._noted_text = 0
        self._evictions = 0
        self._room_needed = 0

    @property
    def _waiting(self) -> int:
        return len(self._noted) + len(self._hits)

    @property
    def honours_ttl(self) -> bool | None:
        """Whether it heeds a `ttl`; `None` if that can't be told."""
        self._take(_SOME)
        return self._honours_ttl

    def hit(self, key: str, start: int, end: int) -> None:
        self._hits.append((key, start, end))
        if len(self._hits) >= _MOST_NOTED:
            self.relieve()

    def used(self, found: Iterable[tuple[str, int]]) -> None:
        """Hits of a cache without TTLs: under which key, and when, in order."""
        self._note(CacheHistory._take_used, [(digest(key), when) for key, when in found])

    def missed(
        self,
        key: str,
        got: Interval,
        request: Callable[[], AskedFor | None],
        *,
        capacity: int | None,
    ) -> Diagnosis:
        """Note that the key is asked for, until `ended`; why it was missed will be in what this returns.

        `request` is called at once if the key was not described before, and may say that it can't be read;
        what it gives is read later. `capacity` is how many entries an LRU holds that is full, `None`
        of any other cache.
        """
        name = digest(key)
        asked = None if self._will_be_described(name) else request()
        diagnosis = Diagnosis()
        what = diagnosis, name, got, asked, capacity
        self._note(CacheHistory._take_missed, *what, text=asked.length if asked else 0)
        return diagnosis

    def _will_be_described(self, name: int) -> bool:
        """Whether its request is known, and nothing that waits can have it forgotten."""
        known = self._keys.get(name)
        is_described = known is not None and known.is_described
        return is_described and len(self._keys) + self._waiting < self._most_keys()

    def stored(self, key: str, during: Interval, ttl: float | None) -> None:
        self._note(CacheHistory._take_stored, digest(key), during, ttl)

    def cleared(self, by: float) -> None:
        """All that was there `by` a time is gone, dropped by the program itself."""
        self._note(CacheHistory._take_cleared, by)

    def ended(self, key: str) -> None:
        """A call that had missed has ended. What it has stored was told before. A finalizer may tell."""
        self._noted.append((CacheHistory._take_ended, (digest(key),), 0))

    def make(self, diagnosis: Diagnosis) -> None:
        """Take in what was noted up to that miss.

        Raises:
            Exception: the first that could not be taken in.
        """
        if not diagnosis.is_made:
            self._take(len(self._noted) + 1, until=diagnosis)

    def settle(self, most: int | None = None) -> None:
        """Take in all that was noted, or so much. Raises as `make` does."""
        self._take(self._waiting if most is None else most)

    def relieve(self) -> None:
        """Take a few in, where calls come faster than they are told of. Raises as `make` does."""
        much = max(self._waiting / _MOST_NOTED, self._noted_text / _MOST_TEXT)
        if much >= 1:
            forks.within(self._lock, _PATIENCE if much > 2 else 0, self._take_few)

    def _take_few(self) -> None:
        for _ in range(_FEW):
            self._take_next()

    def _note(self, take: Callable[..., None], *noted: Any, text: int = 0) -> None:
        self._noted.append((take, noted, text))
        self._noted_text += text

    def _take(self, most: int, until: Diagnosis | None = None) -> None:
        failure = None
        with self._lock:
            for _ in range(most):
                if until is not None and until.is_made:
                    break
                try:
                    self._take_next()
                except Exception as error:  # which keeps nothing else from being taken in
                    failure = failure or error
        if failure is not None:
            raise failure

    def _take_next(self) -> None:
        if self._noted:
            take, what, text = self._noted.popleft()
            # Threads that add at the same time may lose one another's.
            self._noted_text = self._noted_text - text if self._noted else 0
            take(self, *what)
        elif self._hits:
            self._take_hit(*self._hits.popleft())

    def _take_hits(self, by: int) -> None:
        """Those that were over by a time."""
        while self._hits and self._hits[0][2] <= by:
            self._take_hit(*self._hits.popleft())

    def _take_hit(self, key: str, start: int, end: int) -> None:
        known = self._used(digest(key), end)
        if known.outlives is not None and start > known.outlives:
            known.expires = known.outlives = None
            if not self._others_store:
                self._honours_ttl = False
        if end >= known.as_of:
            known.is_there(end)

    def _take_used(self, found: Iterable[tuple[int, int]]) -> None:
        for name, when in found:
            known = self._used(name, when)
            if when >= known.as_of:
                known.is_there(when)

    def _take_missed(
        self,
        diagnosis: Diagnosis,
        name: int,
        got: Interval,
        asked: AskedFor | None,
        capacity: int | None,
    ) -> None:
        try:
            diagnosis.miss = self._why(name, got, asked, capacity)
        finally:
            diagnosis.is_made = True

    def _why(
        self, name: int, got: Interval, asked: AskedFor | None, capacity: int | None
    ) -> Miss | None:
        miss = None
        self._take_hits(got.start_ns)
        known = self._keys.get(name)
        is_described = known is not None and known.is_described
        request = None if asked is None or is_described else asked.read()
        described = None if request is None else Request(request)
        if known is not None:
            miss = self._why_gone(name, known, got, capacity)
        elif described is not None:
            miss = self._requests.compare(described)
        known = self._used(name, got.start_ns)
        if described is not None:
            self._requests.add(described, self._share())
            known.is_described = True
        known.asking += 1
        known.as_of = max(known.as_of, got.start_ns)
        if known.there_since is not None and known.there_since <= got.start_ns:
            known.there_since = None
        return miss

    def _take_stored(self, name: int, during: Interval, ttl: float | None) -> None:
        self._take_hits(during.start_ns)
        known = self._used(name, during.end_ns)
        if during.end_ns < known.as_of:
            return
        known.is_there(during.end_ns)
        known.expires = known.outlives = None
        if ttl is not None and isfinite(ttl) and self._honours_ttl:
            kept_ns = round(ttl * 1e9)
            known.expires = during.start_ns + kept_ns
            known.outlives = during.end_ns + kept_ns + _LATENESS_NS

    def _take_cleared(self, by: float) -> None:
        self._cleared = by

    def _take_ended(self, name: int) -> None:
        known = self._keys.get(name)
        if known is not None:
            known.asking = max(0, known.asking - 1)

    def _most_keys(self) -> int:
        return max(_FEWEST_KEYS, int(_MOST_KEYS * self._share()))

    def _used(self, name: int, now: int) -> KnownKey:
        known = self._keys.get(name)
        if known is None:
            known = self._keys[name] = KnownKey(now)
            most = self._most_keys()
            while len(self._keys) > most:
                self._keys.popitem(last=False)
        self._keys.move_to_end(name)
        return known

    def _why_gone(self, name: int, known: KnownKey, got: Interval, capacity: int | None) -> Miss:
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

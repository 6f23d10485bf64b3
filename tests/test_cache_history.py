"""What a history concludes from events in any order, beside a cache that is simulated to the letter."""

from __future__ import annotations

import gc
import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from instructor.cache import AutoCache, BaseCache, DiskCache

from llm_cache_otel.facts import (
    Diagnosis,
    Interval,
    KeyedRequest,
    KeyPart,
    Miss,
    MissReason,
    Section,
)
from llm_cache_otel.interpret import earlier_requests, histories, miss_reason
from llm_cache_otel.interpret.histories import Histories
from llm_cache_otel.interpret.miss_reason import CacheHistory
from llm_cache_otel.observe import adapter

SECOND = 1_000_000_000


def request(text: str = "Who is Ada?", **parts: str) -> KeyedRequest:
    keyed = {part: parts.get(part.value, "") for part in KeyPart}
    return KeyedRequest((Section("messages", text, "user", 0),), keyed, {})


@dataclass
class Cache:
    """An LRU with TTLs, and everything that ever happened to each key."""

    room: int
    honours_ttl: bool
    entries: OrderedDict[str, float] = field(default_factory=OrderedDict)
    gone: set[str] = field(default_factory=set)
    until: dict[str, float] = field(default_factory=dict)

    def get(self, key: str, now: int) -> bool:
        for each in [each for each, until in self.entries.items() if until <= now]:
            self.lose(each)
        if key in self.entries:
            self.entries.move_to_end(key)
        return key in self.entries

    def set(self, key: str, now: int, ttl: float | None) -> None:
        is_kept = ttl is None or not self.honours_ttl
        self.until[key] = self.entries[key] = math.inf if is_kept else now + ttl * SECOND
        self.entries.move_to_end(key)
        self.gone.discard(key)
        if len(self.entries) > self.room:
            self.lose(next(iter(self.entries)))

    def lose(self, key: str) -> None:
        del self.entries[key]
        self.gone.add(key)

    def why_gone(self, key: str, now: int) -> str:
        """As far as anybody can see who was told of stores and lookups only."""
        self.gone.discard(key)
        if now >= self.until[key]:
            return "expired"
        return "evicted" if len(self.entries) >= self.room else "lost"

    def reasons(self, key: str, now: int, asking: int | None) -> set[str]:
        """By how many calls go on that ask the same; `None` if there were none yet."""
        if asking is None:
            return {"new_prompt", "near_duplicate_prompt"}
        if key in self.gone:
            return {self.why_gone(key, now)}
        return {"in_flight" if asking else "not_stored"}


def why(history: CacheHistory, key: str, got: Interval, *asked: Any, **more: Any) -> Miss | None:
    found = history.missed(key, got, *asked, **more)
    history.settle()
    return found.miss


@pytest.mark.parametrize("are_told_late", [True, False])
@pytest.mark.parametrize("honours_ttl", [True, False])
@pytest.mark.parametrize("room", [8, 1_000])
def test_calls_that_overlap_in_every_way(
    room: int, *, honours_ttl: bool, are_told_late: bool
) -> None:
    """20,000 events of calls that begin, look up, are answered, store and end in a random order.

    Hits are told at once, or no earlier than the misses that have come since have to be explained.
    """
    rng = random.Random(room)
    cache = Cache(room, honours_ttl)
    history = CacheHistory(honours_ttl=honours_ttl)
    now = 0
    asking: dict[str, int] = {}
    under_way: list[str] = []
    missed: list[tuple[Diagnosis, set[str]]] = []
    hits: list[tuple[str, int, int]] = []

    def settle() -> None:
        for hit in hits:
            history.hit(*hit)
        hits.clear()
        history.settle()

    for _ in range(20_000):
        now += rng.randrange(1, SECOND // 20)
        what = rng.random()
        if what < 0.6 or not under_way:
            key = f"key {rng.randrange(30)}"
            got = Interval(now, now + 1_000)
            if cache.get(key, now):
                hits.append((key, got.start_ns, got.end_ns))
                if not are_told_late:
                    history.hit(*hits.pop())
                continue
            is_full = len(cache.entries) >= room
            found = history.missed(
                key, got, partial(request, key), capacity=room if is_full else None
            )
            missed.append((found, cache.reasons(key, now, asking.get(key))))
            if rng.random() < 0.1:  # whenever it is asked for
                settle()
            asking[key] = asking.get(key, 0) + 1
            under_way.append(key)
        elif what < 0.97:
            key = under_way.pop(rng.randrange(len(under_way)))
            if rng.random() < 0.9:
                ttl = rng.choice([None, 1.0, 5.0])
                cache.set(key, now, ttl)
                history.stored(key, Interval(now, now), ttl)
            history.ended(key)
            asking[key] -= 1
        elif cache.entries:
            cache.lose(rng.choice(list(cache.entries)))
    settle()
    seen: set[MissReason] = set()
    for found, expected in missed:
        assert found.miss is not None
        assert found.miss.reason in expected
        seen.add(found.miss.reason)
    assert {"in_flight", "not_stored"} <= seen
    assert (MissReason.EXPIRED in seen) == honours_ttl
    assert (MissReason.EVICTED in seen) == (room == 8)


def test_a_store_that_ends_after_a_lookup_began_explains_nothing_yet() -> None:
    history = CacheHistory(honours_ttl=None)
    why(history, "key", Interval(0, 1), request, capacity=None)
    history.stored("key", Interval(10, 20), None)
    history.ended("key")
    while_stored = why(history, "key", Interval(15, 16), request, capacity=None)
    assert while_stored == Miss(MissReason.IN_FLIGHT)
    after = why(history, "key", Interval(21, 22), request, capacity=None)
    assert after == Miss(MissReason.LOST)


def test_a_hit_that_is_told_after_a_miss_explains_it_if_it_was_before() -> None:
    history = CacheHistory(honours_ttl=None)
    missed = [
        history.missed(key, Interval(5, 6), partial(request, key), capacity=None)
        for key in ("before", "after")
    ]
    history.hit("before", 2, 3)
    history.hit("after", 7, 8)
    for diagnosis in missed:
        history.make(diagnosis)
    before, after = (diagnosis.miss for diagnosis in missed)
    assert before == Miss(MissReason.LOST)
    assert after is not None
    assert after.reason is MissReason.NEW_PROMPT
    history.settle()
    assert why(history, "after", Interval(9, 10), request, capacity=None) == before


def test_what_is_told_late_is_not_news() -> None:
    """A thread that was held up tells of a hit, or a store, after another has found the entry gone."""
    history = CacheHistory(honours_ttl=None)
    history.stored("key", Interval(0, 1), None)
    gone = why(history, "key", Interval(10, 11), request, capacity=3)
    assert gone is not None
    assert gone.reason is MissReason.EVICTED
    history.ended("key")
    history.hit("key", 5, 6)
    not_stored = Miss(MissReason.NOT_STORED)
    assert why(history, "key", Interval(12, 13), request, capacity=3) == not_stored
    history.ended("key")
    history.stored("key", Interval(7, 8), None)
    assert why(history, "key", Interval(14, 15), request, capacity=3) == not_stored


def test_an_entry_that_outlives_its_ttl_shows_that_it_is_not_heeded() -> None:
    history = CacheHistory(honours_ttl=True)
    history.stored("key", Interval(0, 1), 1.0)
    history.hit("key", SECOND * 3 // 2, SECOND * 3 // 2 + 1)
    assert history.honours_ttl is True, "backends may take a second to drop it"
    history.hit("key", 3 * SECOND, 3 * SECOND + 1)
    assert history.honours_ttl is False
    history.stored("other", Interval(0, 4 * SECOND), 1.0)
    miss = why(history, "other", Interval(9 * SECOND, 9 * SECOND), request, capacity=None)
    assert miss == Miss(MissReason.LOST)


def test_a_request_that_cannot_be_read() -> None:
    history = CacheHistory(honours_ttl=None)
    assert why(history, "key", Interval(0, 1), lambda: None, capacity=None) is None
    again = why(history, "key", Interval(2, 3), lambda: None, capacity=None)
    assert again == Miss(MissReason.IN_FLIGHT)


def test_how_much_room_would_have_held_what_was_evicted() -> None:
    history = CacheHistory(honours_ttl=False)
    for number, key in enumerate(("a", "b", "c", "b", "d")):
        history.stored(key, Interval(number, number), None)
    why(history, "never stored", Interval(6, 6), request, capacity=3)
    evicted = why(history, "a", Interval(7, 7), request, capacity=3)
    assert evicted == Miss(MissReason.EVICTED, evictions=1, capacity=3, room_needed=4)


def test_what_is_kept_is_bounded_in_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miss_reason, "_MOST_KEYS", 10)
    monkeypatch.setattr(miss_reason, "_FEWEST_KEYS", 10)
    monkeypatch.setattr(earlier_requests, "_FEWEST_REQUESTS", 10)
    monkeypatch.setattr(earlier_requests, "_MOST_REQUESTS", 10)
    history = CacheHistory(honours_ttl=False)
    for number in range(100):
        text = f"{number} is what is asked of {number * 7}"
        why(
            history, str(number), Interval(number, number), lambda t=text: request(t), capacity=None
        )
    history.settle()
    requests = history._requests
    assert len(history._keys) == len(requests._requests) == 10
    assert set(map(id, requests._places.values())) == set(map(id, requests._requests))
    forgotten = why(history, "0", Interval(200, 200), lambda: request("x"), capacity=None)
    assert forgotten == Miss(MissReason.NEW_PROMPT), "what is forgotten is not known any more"


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_requests, "_MOST_BYTES", 50_000)
    history = CacheHistory(honours_ttl=False)
    for number in range(50):
        text = "".join(f"Sentence {number}, {each}. " for each in range(500))
        why(
            history, str(number), Interval(number, number), lambda t=text: request(t), capacity=None
        )
    history.settle()
    requests = history._requests
    assert 0 < len(requests._requests) < 15
    assert requests._bytes <= 50_000


def test_a_request_too_large_to_keep_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_requests, "_MOST_BYTES", 50_000)
    history = CacheHistory(honours_ttl=False)
    why(history, "small", Interval(0, 0), request, capacity=None)
    lines = tuple(Section("messages", f"Line {line}.", "user", line) for line in range(200))
    large = KeyedRequest(lines, dict.fromkeys(KeyPart, ""), {})
    why(history, "large", Interval(1, 1), lambda: large, capacity=None)
    changed = why(
        history, "changed", Interval(2, 2), lambda: request(model="another"), capacity=None
    )
    assert changed is not None
    assert changed.reason is MissReason.MODEL_CHANGED


def test_each_cache_has_its_own_history_and_takes_it_along() -> None:
    class Cache:
        pass

    made = Histories()
    one, other = Cache(), Cache()
    assert made.of(one, None, lambda _: None) is made.of(one, None, lambda _: None)
    assert made.of(one, None, lambda _: None) is not made.of(other, None, lambda _: None)
    assert made.of(one, "there", lambda _: None) is made.of(other, "there", lambda _: None)
    del one
    gc.collect()
    successors = [Cache() for _ in range(1_000)]
    for cache in successors:
        made.of(cache, None, lambda _: None)
    assert made.of(other, None, lambda _: None)._share() == 4 / 1_002
    for number in range(100):
        made.of(other, number, lambda _: None)
    assert len(made._places) == 64
    del successors, cache
    gc.collect()
    assert len(made._made) == 1, "a history goes with its cache"


def test_what_waits_is_bounded_where_calls_come_faster_than_they_are_told_of() -> None:
    history = CacheHistory(honours_ttl=False)
    for number in range(10_000):
        history.hit(str(number), number, number)
    assert len(history._noted) < 4_100
    history.settle()
    waited = 0
    image = Section("messages", "What is this?", "x" * 100_000, 0)
    for number in range(100):
        asked = KeyedRequest((image,), dict.fromkeys(KeyPart, "y" * 10_000), {"seed": "z" * 1_000})
        history.missed(str(number), Interval(0, 0), lambda asked=asked: asked, capacity=None)
        history.relieve()
        waited = max(waited, len(history._noted))
    assert waited < 30, "four million characters, whatever holds them"
    history.settle()
    assert history._noted_text == 0


def test_who_relieves_waits_for_nobody_for_long() -> None:
    history = CacheHistory(honours_ttl=False)
    for number in range(10_000):
        history.ended(str(number))
    held, over = threading.Event(), threading.Event()

    def hang() -> None:
        with history._lock:
            held.set()
            over.wait()

    elsewhere = threading.Thread(target=hang)
    elsewhere.start()
    held.wait()
    history.relieve()
    assert len(history._noted) == 10_000
    over.set()
    elsewhere.join()
    history.relieve()
    assert len(history._noted) == 10_000 - 8


def test_a_miss_is_explained_though_another_thread_is_about_it() -> None:
    history = CacheHistory(honours_ttl=False)
    text = "\n".join(f"line {number} of a long text" for number in range(50_000))
    found = history.missed("key", Interval(0, 1), lambda: request(text), capacity=None)
    elsewhere = threading.Thread(target=history.settle)
    elsewhere.start()
    while history._noted:
        time.sleep(0.0001)
    history.make(found)
    assert found.miss == Miss(MissReason.NEW_PROMPT)
    elsewhere.join()


def test_what_waits_may_have_a_request_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miss_reason, "_MOST_KEYS", 100)
    monkeypatch.setattr(earlier_requests, "_FEWEST_REQUESTS", 50)
    monkeypatch.setattr(earlier_requests, "_MOST_REQUESTS", 50)
    history = CacheHistory(honours_ttl=False)
    requests = [f"What is number {number}?" for number in range(200)]
    for text in requests[:100]:
        why(history, text, Interval(0, 0), partial(request, text), capacity=None)
    found = [
        history.missed(text, Interval(1, 1), partial(request, text), capacity=None)
        for text in (*requests[100:], *requests[:100])
    ]
    history.settle()
    assert None not in [each.miss for each in found]


def test_what_fails_to_be_taken_in_keeps_nothing_else_from_it() -> None:
    history = CacheHistory(honours_ttl=True)
    odd: Any = None
    first = history.missed("key", odd, request, capacity=None)
    second = history.missed("other", Interval(0, 1), request, capacity=None)
    third = history.missed("other", Interval(2, 3), request, capacity=None)
    with pytest.raises(AttributeError):
        history.make(third)
    assert first.miss is None
    assert second.miss == Miss(MissReason.NEW_PROMPT)
    assert third.miss == Miss(MissReason.IN_FLIGHT)
    history.stored("other", Interval(4, 5), math.inf)
    gone = why(history, "other", Interval(6, 7), request, capacity=None)
    assert gone == Miss(MissReason.LOST), "for ever is no time to live"


def test_a_cache_is_another_than_one_that_was_at_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(histories, "id", lambda cache: 7, raising=False)
    known_ones = Histories()
    one, other = AutoCache(), AutoCache()
    known = known_ones.of(one, None, lambda _: None)
    assert known_ones.of(one, None, lambda _: None) is known
    assert known_ones.of(other, None, lambda _: None) is not known


class Reading(BaseCache):
    """Does something with its ttl."""

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        options = {"ex": ttl} if ttl else {}
        vars(self)["options"] = options


class Ignoring(Reading):
    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        vars(self)["kept"] = value


class Positional(Reading):
    def set(self, key: str, value: Any, seconds: int | None = None) -> None:
        vars(self)["for"] = (value, seconds)


class Anything(Reading):
    def set(self, *args: Any, **kwargs: Any) -> None: ...


class Renamed(AutoCache):
    def get(self, key: str) -> Any:
        return super().get(f"mine {key}")


def _redis() -> Any:
    return redis.Redis.__new__(redis.Redis)


@pytest.mark.parametrize(
    ("make", "honours"),
    [
        (AutoCache, False),
        (lambda: Reading(client=_redis()), True),
        (lambda: Positional(client=_redis()), True),
        (lambda: Ignoring(client=_redis()), False),
        (Ignoring, False),
        (Reading, None),
        (lambda: Anything(client=_redis()), None),
        (lambda: Reading(inner=AutoCache()), False),
        (lambda: Reading(inner=Reading(client=_redis())), True),
        (lambda: Reading(one=AutoCache(), other=AutoCache()), None),
        (Renamed, False),
    ],
)
def test_whether_a_cache_heeds_a_ttl_is_told_by_what_it_does_with_it(
    make: Callable[[], Any], honours: bool | None
) -> None:
    assert adapter.honours_ttl(make()) is honours


def test_a_disk_cache_heeds_a_ttl_and_is_told_by_its_directory(tmp_path: Path) -> None:
    cache, same = DiskCache(str(tmp_path)), DiskCache(str(tmp_path))
    assert adapter.honours_ttl(cache) is True
    assert adapter.place_of(cache) == adapter.place_of(same) is not None
    assert adapter.place_of(AutoCache()) is None
    for each in (cache, same):
        each._cache.close()


def test_only_an_auto_cache_is_known_to_be_full() -> None:
    plain, renamed = AutoCache(maxsize=1), Renamed(maxsize=1)
    assert adapter.full_at(plain) is None
    for cache in (plain, renamed):
        cache.set("key", "value")
    assert adapter.full_at(plain) == 1
    assert adapter.full_at(renamed) is None

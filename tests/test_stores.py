"""diskcache and Redis handed to `instrument`: the same object, and what it is asked."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import diskcache
import pytest
import redis
import redis.asyncio
from support.recording import Recording
from support.redis_server import redis_server

from llm_cache_otel import instrument, uninstrument

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated")  # of redis 8: setex, psetex


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["disk", "fanout", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "disk":
        with diskcache.Cache(str(tmp_path)) as made:
            yield made
    elif request.param == "fanout":
        with diskcache.FanoutCache(str(tmp_path), shards=2) as made:
            yield made
    else:
        with redis.Redis.from_url(request.getfixturevalue("url")) as made:
            made.flushall()
            yield made


def told(recording: Recording) -> list[tuple[str, Any]]:
    """Each lookup and store since the last time, and whether it was a hit."""
    spans = [(span.name, span.attributes.get("llm_cache.hit")) for span in recording.spans()]
    recording.exporter.clear()
    return spans


HIT, MISS, SET = ("cache lookup", True), ("cache lookup", False), ("cache store", None)


def test_it_is_the_very_same_object(store: Any, recording: Recording) -> None:
    before = dict(vars(store))
    assert instrument(store, **recording.providers) is store
    assert instrument(store) is store
    assert dict(vars(store)) == before
    assert isinstance(store, (diskcache.Cache, diskcache.FanoutCache, redis.Redis))
    uninstrument(store)
    store.get("x")
    assert not recording.spans()


def test_each_use_is_told_once(store: Any, recording: Recording) -> None:
    instrument(store, name="mine", **recording.providers)
    assert store.get("x") is None
    assert told(recording) == [MISS]
    store.set("x", b"abc")
    assert told(recording) == [SET]
    assert store.get("x") == b"abc"
    assert told(recording) == [HIT]
    store["y"] = b"de"
    assert told(recording) == [SET]
    assert store["y"] == b"de"
    assert told(recording) == [HIT]
    with pytest.raises(KeyError):
        store["nothing"]
    assert told(recording) == [MISS]
    assert ("y" in store, "nothing" in store) == (True, False)
    assert told(recording) == [HIT, MISS]
    counts = recording.sums("llm_cache.backend.duration", "llm_cache.operation")
    assert counts == {"get": 6, "set": 2}


def test_another_store_of_its_class_is_left_alone(
    store: Any, recording: Recording, tmp_path: Path
) -> None:
    instrument(store, **recording.providers)
    if isinstance(store, redis.Redis):
        other: Any = redis.Redis(connection_pool=store.connection_pool)
    else:
        other = type(store)(str(tmp_path / "other"))
    other.set("x", "y")
    other.get("x")
    other.close()
    assert not recording.spans()


def test_what_is_said_of_an_operation(recording: Recording, tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, name="mine", **recording.providers)
        store.set("x", "äbc", expire=60)
        store.get("x", expire_time=True, tag=True)
        store.get("nothing", "a default", True, True)
    stored, found, missed = (dict(span.attributes or {}) for span in recording.spans())
    assert stored == {
        "llm_cache.backend": "disk",
        "llm_cache.name": "mine",
        "llm_cache.entry.size": 4,
        "llm_cache.ttl": 60,
    }
    assert found["llm_cache.hit"] is True
    assert missed["llm_cache.hit"] is False


def test_every_way_to_say_how_long(url: str, recording: Recording) -> None:
    with redis.Redis.from_url(url) as store:
        instrument(store, **recording.providers)
        store.set("x", "1", ex=5)
        store.set("x", "1", ex=timedelta(seconds=6))
        store.set("x", "1", px=7_000)
        store.setex("x", 8, "1")
        store.psetex("x", 9_000, "1")
        store.set("x", "1")
    ttls = [span.attributes.get("llm_cache.ttl") for span in recording.spans()]
    assert ttls == [5, 6, 7, 8, 9, None]


def test_redis_async_and_several_at_once(url: str, recording: Recording) -> None:
    async def main() -> None:
        async with redis.asyncio.Redis.from_url(url) as store:
            await store.flushall()
            assert instrument(store, **recording.providers) is store
            await store.set("x", "1", ex=60)
            found = await asyncio.gather(*(store.get(key) for key in "xyxy"))
            assert found == [b"1", None, b"1", None]

    asyncio.run(main())
    lookups = [span.attributes["llm_cache.hit"] for span in recording.spans("cache lookup")]
    assert sorted(lookups) == [False, False, True, True]
    assert recording.span("cache store").attributes["llm_cache.ttl"] == 60


def test_what_is_pickled_is_the_store_alone(tmp_path: Path, recording: Recording) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)
        with pickle.loads(pickle.dumps(store)) as copied:
            copied.set("x", 1)
        assert not recording.spans()
        assert store.get("x") == 1
        assert told(recording) == [HIT]


def test_memoize_of_diskcache(tmp_path: Path, recording: Recording) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)

        @instrument
        @store.memoize(expire=60)
        def work(number: int) -> int | None:
            return None if number == 0 else number

        uninstrument(work)
        bare = [work(number) for number in (1, 1, 0, 0)]
        recording.clear()
        store.clear()
        observed = instrument(work, **recording.providers)
        assert [observed(number) for number in (1, 1, 0, 0)] == bare
    outcomes = [span.attributes["llm_cache.outcome"] for span in recording.spans("create work")]
    assert outcomes == ["miss", "hit", "miss", "hit"]


def test_a_server_that_goes_away_and_comes_back(recording: Recording, tmp_path: Path) -> None:
    def outcome(get: Any) -> Any:
        try:
            return get()
        except Exception as error:
            return type(error)

    with redis_server(tmp_path) as url:
        port = url.rsplit(":", 1)[1].split("/")[0]
        observed, bare = (redis.Redis.from_url(url, retry=None) for _ in range(2))
        instrument(observed, **recording.providers)
        observed.set("x", "1")
        assert observed.get("x") == b"1"
    seen = [outcome(lambda store=store: store.get("x")) for store in (observed, bare)]
    assert seen == [redis.exceptions.ConnectionError] * 2
    assert outcome(lambda: observed.set("x", "1")) is redis.exceptions.ConnectionError
    with redis_server(tmp_path, port):
        assert observed.get("x") is None
        observed.set("x", "2")
        assert observed.get("x") == b"2"
        observed.close()
        bare.close()
    hits = [span.attributes.get("llm_cache.hit") for span in recording.spans("cache lookup")]
    assert hits == [True, None, False, True]
    failed = recording.sums("llm_cache.backend.duration", "error.type")
    assert failed == {None: 5, "redis.exceptions.ConnectionError": 2}


IN_ANOTHER_PROCESS = """
import sys, diskcache
with diskcache.Cache(sys.argv[1]) as store:
    for number in range(50):
        store.set(f"key {number}", number)
        store.get(f"key {number}")
"""


def test_several_processes_at_one_directory(tmp_path: Path, recording: Recording) -> None:
    """Each tells what it asked itself, and what it is given is what the others have stored."""
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)
        others = [
            subprocess.Popen([sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)])
            for _ in range(2)
        ]
        found = 0
        for number in range(50):
            while store.get(f"key {number}") is None:
                time.sleep(0.001)
            found += 1
        assert [other.wait(60) for other in others] == [0, 0]
    hits = [span.attributes["llm_cache.hit"] for span in recording.spans("cache lookup")]
    assert hits.count(True) == found == 50
    assert not recording.spans("cache store")

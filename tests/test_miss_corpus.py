"""A labelled corpus of real calls: every reason of a miss is right, and none claims more than there is."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from instructor.cache import AutoCache, BaseCache, DiskCache
from support.corpus import Asked, Oracle, requests
from support.miss_clients import Clients

from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.interpret import histories

EXPLAINS_NOTHING = ("new_prompt",)


@pytest.mark.parametrize(("room", "seed"), [(10_000, 1), (40, 2), (5, 3)])
def test_every_reason_is_right(
    room: int,
    seed: int,
    provider: SimulatedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(histories, "_ALL_TOGETHER", 1_000)  # caches of earlier tests may live on
    rng = random.Random(seed)
    cache = AutoCache(maxsize=room)
    clients, oracle = Clients(provider.openai_url, cache), Oracle(room)
    labels: Counter[str] = Counter()
    for number, asked in enumerate(requests(rng, 1_000, families=40)):
        fails = rng.random() < 0.05
        if fails:
            provider.cues.add(Cue(status=500))
        right = oracle.ask(asked, fails=fails)
        assert clients.ask(asked) == right, (number, asked)
        assert sorted(clients.parts) == sorted(oracle.parts), (number, asked)
        provider.cues.clear()
        labels[right] += 1
        labels["named"] += bool(oracle.parts)
    clients.close()
    assert labels.pop("named") >= 20
    misses = labels.total() - labels["hit"]
    explained = misses - sum(labels[reason] for reason in EXPLAINS_NOTHING)
    assert {"near_duplicate_prompt", "model_changed", "several_changed"} <= set(labels)
    assert ("evicted" in labels) == (room < 1_000)
    assert explained > 0.8 * misses


def test_threads_that_share_a_cache_and_ask_for_different_things(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread's reasons are those that it would have had alone: nothing is near what others ask."""
    monkeypatch.setattr(histories, "_ALL_TOGETHER", 1_000)
    cache = AutoCache(maxsize=10_000)
    wrong: list[tuple[Any, ...]] = []

    def work(thread: int) -> None:
        rng = random.Random(thread)
        clients, oracle = Clients(provider.openai_url, cache), Oracle(10_000)
        for asked in requests(rng, 150, families=10):
            mine = _of_thread(asked, thread)
            right, said = oracle.ask(mine), clients.ask(mine)
            if said != right:
                wrong.append((thread, mine, said, right))
        clients.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _of_thread(asked: Asked, thread: int) -> Asked:
    return replace(asked, family=asked.family + 1_000 * (thread + 1))


def test_several_who_ask_the_same_at_once(provider: SimulatedProvider) -> None:
    """One finds that it is new; the others, that somebody has asked already and has no answer yet."""
    cache = AutoCache()
    clients = [Clients(provider.openai_url, cache) for _ in range(8)]
    for round_ in range(5):
        provider.cues.add(*[Cue(delay=0.5)] * len(clients))
        said = _at_once(clients, Asked(family=round_))
        assert Counter(said) == {"new_prompt": 1, "in_flight": 7}
        assert {each.ask(Asked(family=round_)) for each in clients} == {"hit"}
        provider.cues.clear()
    for each in clients:
        each.close()


def test_several_who_ask_at_once_for_what_then_fails(provider: SimulatedProvider) -> None:
    cache = AutoCache()
    clients = [Clients(provider.openai_url, cache) for _ in range(4)]
    provider.cues.add(*[Cue(status=500, delay=0.3)] * len(clients))
    assert Counter(_at_once(clients, Asked())) == {"new_prompt": 1, "in_flight": 3}
    assert clients[0].ask(Asked()) == "not_stored"
    assert clients[1].ask(Asked()) == "hit"
    for each in clients:
        each.close()


def _at_once(clients: list[Clients], asked: Asked) -> list[str]:
    for each in clients:
        each.prepare(asked)
    said: list[str] = []
    barrier = threading.Barrier(len(clients))

    def ask(each: Clients) -> None:
        barrier.wait()
        said.append(each.ask(asked))

    threads = [threading.Thread(target=ask, args=(each,)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_what_the_host_has_taken_out_is_lost(provider: SimulatedProvider) -> None:
    cache = AutoCache()
    clients = Clients(provider.openai_url, cache)
    assert [clients.ask(Asked()), clients.ask(Asked())] == ["new_prompt", "hit"]
    cache._cache.clear()
    assert [clients.ask(Asked()), clients.ask(Asked())] == ["lost", "hit"]
    clients.close()


@pytest.mark.parametrize("kind", ["disk", "redis, as the guide has it"])
def test_a_ttl_that_has_run_out(kind: str, provider: SimulatedProvider, tmp_path: Path) -> None:
    cache = DiskCache(str(tmp_path)) if kind == "disk" else Expiring()
    clients = Clients(provider.openai_url, cache)
    short, long, none = (Asked(family=family) for family in range(3))
    for asked, ttl in ((short, 1), (long, 100), (none, None)):
        clients.ttl = ttl
        assert [clients.ask(asked), clients.ask(asked)] == ["new_prompt", "hit"]
    time.sleep(1.3)
    clients.ttl = 1
    assert [clients.ask(short), clients.ask(short)] == ["expired", "hit"]
    assert [clients.ask(long), clients.ask(none)] == ["hit", "hit"]
    cache._cache.clear()
    assert [clients.ask(asked) for asked in (long, none)] == ["lost", "lost"]
    clients.close()
    if isinstance(cache, DiskCache):
        cache._cache.close()


def test_a_cache_that_ignores_ttls_never_lets_entries_expire(provider: SimulatedProvider) -> None:
    cache = AutoCache(maxsize=2)
    clients = Clients(provider.openai_url, cache)
    clients.ttl = 1
    one, two, three = (Asked(family=family) for family in range(3))
    assert [clients.ask(one), clients.ask(two)] == ["new_prompt", "new_prompt"]
    time.sleep(1.2)
    assert clients.ask(one) == "hit"
    assert [clients.ask(three), clients.ask(two)] == ["new_prompt", "evicted"]
    clients.close()


class Expiring(BaseCache):
    """Holds a client of Redis, which does what the server would."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[Any, float]] = {}
        self.client = redis.Redis.__new__(redis.Redis)

    def get(self, key: str) -> Any:
        value, until = self._cache.get(key, (None, 0.0))
        return value if time.time() < until else None

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self._cache[key] = value, math.inf if ttl is None else time.time() + ttl


class KeysOfItsOwn(AutoCache):
    """Has a new generation of keys whenever it is told to."""

    generation = 0

    def get(self, key: str) -> Any:
        return super().get(f"{self.generation} {key}")

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        super().set(f"{self.generation} {key}", value, ttl)


def test_an_adapter_with_keys_of_its_own_is_told_less_of(provider: SimulatedProvider) -> None:
    cache = KeysOfItsOwn(maxsize=1)
    clients = Clients(provider.openai_url, cache)
    clients.ttl = 1
    assert [clients.ask(Asked()), clients.ask(Asked())] == ["new_prompt", "hit"]
    cache.generation += 1
    time.sleep(1.1)
    assert clients.ask(Asked()) == "lost", "it is full, and the TTL is over, and neither is why"
    clients.close()


def test_a_disk_cache_is_one_however_often_it_is_made(
    provider: SimulatedProvider, tmp_path: Path
) -> None:
    def ask(asked: Asked) -> str:
        cache = DiskCache(str(tmp_path))
        clients = Clients(provider.openai_url, cache)
        try:
            return clients.ask(asked)
        finally:
            clients.close()
            cache._cache.close()

    assert ask(Asked()) == "new_prompt"
    assert ask(Asked()) == "hit"
    assert ask(Asked(model="gpt-4o")) == "model_changed"


def test_processes_know_what_they_have_seen_themselves(
    provider: SimulatedProvider, tmp_path: Path
) -> None:
    """What another process has stored hits; of what misses, nothing is made up."""

    def process(*asked: tuple[int, str]) -> list[str]:
        program = textwrap.dedent(
            f"""
            import json, sys
            from instructor.cache import DiskCache
            from support.corpus import Asked
            from support.miss_clients import Clients
            clients = Clients({provider.openai_url!r}, DiskCache({str(tmp_path)!r}))
            asked = [Asked(family=family, model=model) for family, model in {list(asked)!r}]
            print(json.dumps([clients.ask(each) for each in asked]))
            """
        )
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        said: list[str] = json.loads(ended.stdout.splitlines()[-1])
        return said

    mini, large = "gpt-4.1-mini", "gpt-4o"
    assert process((1, mini), (1, large), (2, mini)) == [
        *("new_prompt", "model_changed", "new_prompt")
    ]
    # That family 3 was never asked for is known; of family 1 the other process knows.
    assert process((1, mini), (1, "o3"), (3, mini), (1, "o3")) == [
        *("hit", "new_prompt", "new_prompt", "hit")
    ]
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert process((1, mini), (1, large)) == ["new_prompt", "model_changed"]

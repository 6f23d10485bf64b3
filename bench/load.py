"""What a contender is loaded with, and how such a load's cache is filled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import instructor.cache
from instructor.cache import AutoCache, BaseCache, DiskCache


@dataclass(frozen=True)
class Load:
    """`missed` prompts have missed before, `keys` entries are in the cache; a prompt is of `prompt` bytes.

    `tasks` of an event loop ask, or without any `threads`; they ask `clients` clients of one cache, which is
    in `store`: memory, the Redis of a URL, or a directory.
    """

    keys: int = 40
    prompt: int = 0
    missed: int = 0
    threads: int = 1
    tasks: int = 0
    clients: int = 1
    store: str = "memory"

    def cache(self) -> BaseCache:
        """One that never has to evict."""
        if self.store == "memory":
            return AutoCache(maxsize=10_000_000)
        if self.store.startswith("redis:"):
            return RedisCache(self.store)
        return DiskCache(self.store)


class RedisCache(BaseCache):
    """The adapter that a user of Instructor writes."""

    def __init__(self, url: str) -> None:
        import redis

        self._redis = redis.Redis.from_url(url)

    def get(self, key: str) -> Any | None:
        return self._redis.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self._redis.set(key, value, ex=ttl)


_NUMBER = 987_654_321


def fill(cache: BaseCache, keys: int, ask: Callable[[int], object]) -> None:
    """Entries for the prompts of the numbers below `keys`, as if another process had stored them.

    A hundred thousand misses would take many minutes. So one prompt is asked for, and what Instructor
    hashes of it is noted: another prompt's key is the hash of the same, with the other number in it.
    """
    hashed: list[bytes] = []

    def sha256(data: bytes) -> Any:
        hashed.append(data)
        return hashlib.sha256(data)

    with patch.object(instructor.cache, "hashlib", SimpleNamespace(sha256=sha256)):
        ask(_NUMBER)
    before, after = hashed[-1].split(str(_NUMBER).encode())
    entry = cache.get(hashlib.sha256(hashed[-1]).hexdigest())
    assert entry is not None
    for number in range(keys):
        key = hashlib.sha256(before + str(number).encode() + after).hexdigest()
        cache.set(key, entry)

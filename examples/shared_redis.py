"""A Redis cache that processes share. Instructor ships no such adapter: copy this one.

    redis-server & python examples/shared_redis.py

Run it twice: the second process hits what the first one stored. Two things make that so: the entries
live outside the process, and `cache_namespace` is given (without it every client has one of its own).
"""

from __future__ import annotations

import os
from typing import Any

import instructor
import redis
from instructor.cache import BaseCache
from offline import openai_or_simulated
from pydantic import BaseModel

from llm_cache_otel import instrument


class RedisCache(BaseCache):
    """Instructor's entries, which are JSON text, in Redis, with a time to live.

    One connection pool for each cache, made once and safe in threads. Calls of an async client use it
    too, and wait for it: keep Redis near, and the timeout short.
    """

    def __init__(self, url: str, *, default_ttl: int | None = 3600, prefix: str = "llm:") -> None:
        pool = redis.ConnectionPool.from_url(url, socket_timeout=0.5, decode_responses=True)
        self._redis = redis.Redis(connection_pool=pool)
        self._default_ttl = default_ttl
        self._prefix = prefix

    def get(self, key: str) -> str | None:
        entry = self._redis.get(self._prefix + key)
        return None if entry is None else str(entry)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self._redis.set(self._prefix + key, value, ex=ttl or self._default_ttl)


class User(BaseModel):
    name: str
    age: int


def main() -> None:
    cache = RedisCache(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
    client = instrument(
        instructor.from_provider(
            "openai/gpt-4.1-mini", cache=cache, cache_namespace="users-v1", cache_ttl=600
        )
    )
    for text in ("Ada is 36 years old", "Alan is 41 years old", "Ada is 36 years old"):
        user = client.create(response_model=User, messages=[{"role": "user", "content": text}])
        print(f"{text!r} -> {user!r}")


if __name__ == "__main__":
    with openai_or_simulated():
        main()

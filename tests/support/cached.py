"""Stores that functions' answers are kept in, and functions that count how often they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diskcache
import pytest
import redis
import redis.asyncio
from instructor.cache import AutoCache, DiskCache
from redis.backoff import NoBackoff
from redis.retry import Retry

from llm_cache_otel import instructor_cache, instrument
from support.models import DictCache, User
from support.recording import Recording

AT_ONCE = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 10}
"""A client of Redis that is away raises, where it would otherwise try again for seconds."""

BACKENDS = {
    "diskcache": "disk",
    "fanout": "disk",
    "redis": "redis",
    "redis, text": "redis",
    "DiskCache": "disk",
    "AutoCache": "memory",
    "own adapter": "DictCache",
}
"""Every kind of store, by what it is called on spans."""


@contextmanager
def store_of(kind: str, directory: Path, redis_url: str) -> Iterator[Any]:
    match kind:
        case "diskcache":
            with diskcache.Cache(str(directory)) as disk:
                yield disk
        case "fanout":
            with diskcache.FanoutCache(str(directory), shards=2) as fanout:
                yield fanout
        case "redis" | "redis, text":
            texts = kind == "redis, text"
            url = f"{redis_url.removesuffix('/0')}/{int(texts)}"
            with redis.Redis.from_url(url, decode_responses=texts, **AT_ONCE) as client:
                yield client
        case "DiskCache":
            adapter = DiskCache(directory=str(directory))
            yield adapter
            adapter._cache.close()
        case "AutoCache":
            yield AutoCache()
        case _:
            yield DictCache()


def observed(recording: Recording, cache: Any, ttl: float | None = None) -> Callable[..., Any]:
    """`instructor_cache(cache, ttl)`, whose telemetry is recorded."""
    return lambda function: instrument(
        instructor_cache(cache, ttl)(function), **recording.providers
    )


class Runs:
    """What a function was asked, each time that it ran; its answers are made up."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, name: str) -> User:
        self.asked.append(name)
        return User(name=name, age=len(self.asked))

    def __len__(self) -> int:
        return len(self.asked)


def outcomes(recording: Recording) -> list[tuple[Any, Any]]:
    """Outcome and reason of each call, in the order in which they began."""
    spans = sorted(recording.spans(), key=lambda span: span.start_time or 0)
    return [
        (span.attributes["llm_cache.outcome"], span.attributes.get("llm_cache.reason"))
        for span in spans
        if span.attributes and "llm_cache.outcome" in span.attributes
    ]


_OWN = ("Calls of ", "An entry of ", "An answer of ", "Answers of ", "The cache of ")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The decorator's own: observing may have advice besides."""
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return [message for message in said if message.startswith(_OWN)]

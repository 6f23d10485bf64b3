"""What the tests' programs are made of: cached clients that tell the simulated provider's ledger from hits.

They are run by `support.stage`, in processes forked of one that has imported everything.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import instructor
import openai
import redis
from instructor.cache import BaseCache
from opentelemetry import context, propagate
from support.caller import MODEL, UNSHARED, AsyncCaller, Caller, request_for, tally

from llm_cache_otel import instrument

_FORK = multiprocessing.get_context("fork")


class RedisCache(BaseCache):
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, decode_responses=True)

    def get(self, key: str) -> Any:
        return self._redis.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self._redis.set(key, value, ex=ttl)


def redis_client(**more: Any) -> instructor.Instructor:
    """One whose entries all processes share."""
    import httpx

    sdk = openai.OpenAI(max_retries=0, timeout=30, http_client=httpx.Client(limits=UNSHARED))
    cache = RedisCache(os.environ["REDIS_URL"])
    client = instructor.from_openai(sdk, model=MODEL, cache=cache, cache_namespace="shop", **more)
    return instrument(client, name="shared")


def ask(client: instructor.Instructor, prompts: Iterable[object]) -> None:
    for prompt in prompts:
        client.create(**request_for(prompt))
        tally("call")


def ask_over_redis(prompts: Iterable[object]) -> None:
    ask(redis_client(), prompts)


def ask_sync(prompts: Iterable[object]) -> None:
    Caller()(*prompts)


def ask_async(prompts: Iterable[object]) -> None:
    async def ask() -> None:
        await AsyncCaller()(*prompts)

    asyncio.run(ask())


def in_processes(*work: tuple[Any, Any]) -> None:
    """Each with its argument in a process of its own, at once."""
    processes = [_FORK.Process(target=target, args=(argument,)) for target, argument in work]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, process.exitcode


def ask_until(file: str, pause: float = 0.05) -> None:
    """A hit and a miss in turns, until `file` is there; what it cost most to make a call is written there."""
    caller, number, slowest = Caller(), 0, 0.0
    while not Path(file).exists():
        began = time.monotonic()
        caller(number // 2)
        slowest = max(slowest, time.monotonic() - began)
        number += 1
        time.sleep(pause)
    print(number, slowest)


class within:
    """`with within(traceparent):` what is called belongs to that trace, as of a caller elsewhere."""

    def __init__(self, traceparent: str) -> None:
        self._context = propagate.extract({"traceparent": traceparent})

    def __enter__(self) -> None:
        self._token = context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)

"""The program of the alert story: processes that ask about invoices and customers, over one Redis.

Its second version has reworded one docstring, so that no stored invoice is found any more.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import httpx
import instructor
import openai
from pydantic import BaseModel
from support.caller import MODEL, UNSHARED

from e2e.workers import RedisCache, in_processes
from llm_cache_otel import instrument


class Customer(BaseModel):
    name: str


def invoice_of(version: int) -> type[BaseModel]:
    class Invoice(BaseModel):
        total: int

    Invoice.__doc__ = f"What is to be paid, as of version {version}."
    return Invoice


def run(version: int, *, processes: int, pool: int, pause: float, go: str, end: str) -> None:
    """Each process asks for its share of `pool` invoices and customers again and again, from `go` to `end`.

    Both are files. Where there is no `end`, each is asked for once, and nobody observes it. What each call
    was is a line of the file `CALLS`: when it ended, and whether it was a hit.
    """
    while not Path(go).exists():
        time.sleep(0.02)
    shares = [range(number, pool, processes) for number in range(processes)]
    in_processes(*((lambda share: _ask(version, share, pause, end), share) for share in shares))


def _ask(version: int, share: range, pause: float, end: str) -> None:
    asked: list[httpx.Request] = []
    hooks = {"request": [asked.append]}
    sdk = openai.OpenAI(
        max_retries=0, timeout=30, http_client=httpx.Client(limits=UNSHARED, event_hooks=hooks)
    )
    cache = RedisCache(os.environ["REDIS_URL"])
    client = instructor.from_openai(sdk, model=MODEL, cache=cache, cache_namespace="shop")
    if end:
        instrument(client, name="desk")
    models = (invoice_of(version), Customer)
    with Path(os.environ["CALLS"]).open("a", buffering=1) as calls:
        for number in itertools.cycle(share) if end else share:
            for model in models:
                if end and Path(end).exists():
                    return
                asked.clear()
                text = f"Number {number}"
                client.create(response_model=model, messages=[{"role": "user", "content": text}])
                calls.write(f"{time.time()} {int(not asked)}\n")
                time.sleep(pause)

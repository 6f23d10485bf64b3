"""Hits of functions arrive from processes that exit, flush and fork: each once, and from whose they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.books import outcomes, requests_by_instance
from support.programs import PROTOCOLS, environment, run, unmeasured
from support.redis_server import redis_server

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

EXTRACT = """
import functools, os, sys, time
from llm_cache_otel import flush, instrument
from support.caller import bare_client, request_for

client = instrument(bare_client())

@instrument
@functools.cache
def extract(prompt):
    return client.create(**{**request_for(prompt), "cache": None})
"""

ENDINGS = {
    "exit": "",
    "flush": "assert flush()\nos._exit(0)",
    "dropped": "del extract",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_hits_that_nobody_asked_for_arrive(
    ending: str, protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    calls = "for prompt in (1, 1, 2, 1, 2):\n    extract(prompt)\n"
    run(EXTRACT + calls + ENDINGS[ending], environment(provider, receiver, protocol))
    found = outcomes(receiver)
    assert found == {"hit": 3, "miss": 2, "off": 2}
    metrics = receiver.metrics()
    saved = metrics.total("llm_cache.saved.cost", {"llm_cache.layer": "response"})
    assert 0 < saved < 3 * metrics.total("llm_cache.spent.cost", {})


FAMILY = """
from support.forking import fork, join

def child(hits):
    for _ in range(hits):
        extract(1)
    extract("of the child")

for prompt in (1, 1, 1):
    extract(prompt)
join(*[fork(child, 10), fork(child, 100)])
extract(1)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_child_tells_its_own_hits_and_not_its_parents(
    protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    """What the parent had noted when it forked, the parent tells."""
    _, errors = run(EXTRACT + FAMILY, environment(provider, receiver, protocol))
    assert "Traceback" not in errors
    assert outcomes(receiver) == {"hit": 3 + 110, "miss": 3, "off": 3}
    # Each instance: hits, runs, and what the client was asked.
    assert sorted(requests_by_instance(receiver).values()) == [5, 12, 102]


IN_THE_MIDST = """
import threading
from support.forking import fork, join

over = threading.Event()

def hit():
    while not over.is_set():
        extract(1)

def child():
    for _ in range(100):
        extract(1)

extract(1)
threads = [threading.Thread(target=hit) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(10):
    join(fork(child))
over.set()
for thread in threads:
    thread.join()
print(extract.cache_info().hits)
"""


def test_forks_in_the_midst_of_hits(provider: SimulatedProvider, receiver: OtlpReceiver) -> None:
    # The SDK's limit for each collection as well, with a traceback where it takes longer.
    delays = {"OTEL_METRIC_EXPORT_INTERVAL": 200}
    out, errors = run(EXTRACT + IN_THE_MIDST, unmeasured(environment(provider, receiver, **delays)))
    assert "Traceback" not in errors
    assert outcomes(receiver) == {"hit": int(out) + 10 * 100, "miss": 1, "off": 1}


SHARING = """
import os, redis
from llm_cache_otel import instrument
from support.caller import bare_client, request_for
from support.decorators import stored_in
from support.models import User

store = instrument(redis.Redis.from_url(os.environ["SHARED"]))
client = instrument(bare_client())

@instrument
@stored_in(store)
def extract(prompt: int) -> User:
    return client.create(**{**request_for(prompt), "cache": None})

for turn in range(3):
    for prompt in range(5):
        extract(prompt)
"""


def test_processes_that_share_redis(
    provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    """A miss each is what the provider was asked for, and all the rest are hits."""
    before = provider.ledger.requests
    with redis_server(tmp_path) as url:
        variables = environment(provider, receiver, SHARED=url)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SHARING], env=variables, stderr=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    asked = provider.ledger.requests - before
    assert outcomes(receiver) == {"miss": asked, "hit": 45 - asked, "off": asked}
    assert len(requests_by_instance(receiver)) == 3

"""What is kept to tell why calls miss: digests only, others in every process, and no more with time."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from support.models import User
from support.recording import Recording
from support.versions import HAS_NAMESPACES
from test_privacy import MARK, emitted

from llm_cache_otel import instrument, reporter
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit import log
from llm_cache_otel.facts import Interval, KeyedRequest, KeyPart, Section, SentPrompt
from llm_cache_otel.interpret import fingerprint
from llm_cache_otel.interpret.fingerprint import digest
from llm_cache_otel.interpret.histories import Histories
from llm_cache_otel.interpret.miss_reason import CacheHistory
from llm_cache_otel.interpret.sent_prompts import SentPrompts, sent_prompts

REQUESTS = 10_000


def _kept(*roots: object) -> Iterator[object]:
    """All that these hold on to, without the program's own code."""
    seen: set[int] = set()
    left: list[object] = list(roots)
    while left:
        value = left.pop()
        if id(value) in seen or isinstance(
            value, (type, ModuleType, FunctionType, BuiltinFunctionType)
        ):
            continue
        seen.add(id(value))
        yield value
        left.extend(gc.get_referents(value))


def _marked(value: object) -> bool:
    if isinstance(value, str):
        return MARK in value
    return isinstance(value, (bytes, bytearray)) and MARK.encode() in value


_TEXTS = [" ".join(f"{MARK}-{number}-{word}." for word in range(400)) for number in range(20)]
"""Long enough for providers to cache."""


def _request(number: int) -> dict[str, Any]:
    long = _TEXTS[number % 20] if number % 10 == 0 else ""
    request: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "response_model": User,
        "messages": [
            {
                "role": "system",
                "content": f"{MARK}-system {number % 7} {long}",
            },
            {"role": "user", "content": [{"type": "text", "text": f"{MARK}-user {number}"}]},
        ],
    }
    if HAS_NAMESPACES:
        request |= {
            "extra_headers": {"X-Secret": f"{MARK}-header-{number % 11}"},
            "user": f"{MARK}-user-{number % 3}",
            "context": {f"{MARK}-name": f"{MARK}-context-{number % 5}"},
            "cache_namespace": f"{MARK}-namespace-{number % 2}",
            "prompt_cache_key": f"{MARK}-key-{number % 2}",
        }
    return request


@pytest.mark.timeout(1_200)
def test_after_10_000_requests_no_secret_is_kept_or_sent(
    provider: SimulatedProvider, recording: Recording, monkeypatch: Any
) -> None:
    made: list[reporter.Reporter] = []
    original = reporter.Reporter.__init__

    def noted(self: reporter.Reporter, *args: Any) -> None:
        original(self, *args)
        made.append(self)

    monkeypatch.setattr(reporter.Reporter, "__init__", noted)
    # Caches share the room there is for histories: those that other tests left would take most of it.
    histories = Histories()
    monkeypatch.setattr(reporter, "histories", histories)
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key=f"{MARK}-key", max_retries=0)
    cache = AutoCache(maxsize=500)
    client = instrument(instructor.from_openai(sdk, cache=cache), **recording.providers)
    for number in range(REQUESTS):
        client.create(**_request(number))
        if number % 500 == 499:
            assert MARK not in emitted(recording)
            recording.clear()
    sdk.close()
    assert MARK not in emitted(recording)
    history = histories.of(cache, None, lambda _: None)
    assert len(history._requests._requests) > 500
    assert len(sent_prompts._prefixes) > 1_000
    [ours] = made
    roots = (
        *(histories, sent_prompts, dict(fingerprint._known)),
        *(ours._bills, ours._patterns, ours._prompt_caches, ours._inventory, log._causes),
    )
    kept = list(_kept(*roots))
    assert len(kept) > 50_000, "this looks at what is kept"
    assert not [value for value in kept if _marked(value)]


def test_digests_are_others_in_every_process() -> None:
    program = "from llm_cache_otel.interpret.fingerprint import digest; print(digest('prompt'))"
    others = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": "0"},  # which makes Python's own the same
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(3)
    }
    assert len(others | {str(digest("prompt"))}) == 4


@pytest.mark.timeout(600)
def test_memory_stays_flat() -> None:
    """Of 100,000 different requests, the last 50,000 take no more than those before."""
    history, prompts = CacheHistory(honours_ttl=False), SentPrompts()
    parts: dict[KeyPart, str | None] = dict.fromkeys(KeyPart, "same")
    system = Section("messages", "You answer in few words. " * 20, "system", 0)

    def ask(number: int) -> None:
        key, now = str(number), Interval(number, number)
        text = f"{random.Random(number).random()} is what number {number} asks for, and no more"
        user = Section("messages", text, "user", 1)
        asked = KeyedRequest((system, user), parts, {"seed": str(number)})
        history.missed(key, now, lambda: asked, capacity=None)
        history.stored(key, now, None)
        history.ended(key)
        history.relieve()
        prompts.compare_and_add(SentPrompt(1, (system, user)), now, None, is_marked=False)

    sizes = []
    for number in range(100_000):
        ask(number)
        if number in (49_999, 99_999):
            history.settle()
            kept = _kept(history, prompts, dict(fingerprint._known))
            sizes.append(sum(map(sys.getsizeof, kept)))
    half, whole = sizes
    assert whole < 1.02 * half
    assert whole < 15_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks as on Unix")
def test_a_forked_child_knows_nothing_of_what_its_parent_has_seen() -> None:
    program = """
import os, sys
from llm_cache_otel.facts import Interval, Section, SentPrompt
from llm_cache_otel.interpret.histories import histories
from llm_cache_otel.interpret.sent_prompts import sent_prompts

class Cache: ...

cache = Cache()
prompt = SentPrompt(1, (Section("messages", "Who is Ada?" * 100, "user", 0),))

def look(now):
    history = histories.of(cache, None, lambda _: None)
    found = history.missed("key", Interval(now, now), lambda: None, capacity=None)
    history.settle()
    miss = found.miss
    sent = sent_prompts.compare_and_add(prompt, Interval(now, now), None, is_marked=False)
    return f"{miss and miss.reason.value} {sent.shared}"

print(look(1), flush=True)
print(look(2), flush=True)
child = os.fork()
if not child:
    print(look(3), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(look(4), flush=True)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["None 0", "in_flight 1100", "None 0", "in_flight 1100"]

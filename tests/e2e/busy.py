"""A program that does, over and over, everything that a panel shows."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import instructor
import openai
from instructor.cache import AutoCache, BaseCache
from support.caller import MODEL, UNSHARED, request_for
from support.models import FailingCache
from support.sabotage import FUNCTIONS, Broken

from llm_cache_otel import instrument

NOWHERE = "http://127.0.0.1:9/v1"


def made(name: str, cache: BaseCache, **sdk: Any) -> instructor.Instructor:
    http_client = httpx.Client(limits=UNSHARED)
    openai_client = openai.OpenAI(max_retries=0, timeout=30, http_client=http_client, **sdk)
    return instrument(instructor.from_openai(openai_client, model=MODEL, cache=cache), name=name)


def be_busy(file: str) -> None:
    """Until `file` is there."""
    cached = made("cached", AutoCache(maxsize=2))
    unreachable = made("unreachable", AutoCache(), base_url=NOWHERE)
    failing = [made(f"{part} fails", FailingCache(part)) for part in ("get", "set")]
    prompts = instrument(anthropic.Anthropic(), name="prompts")
    number = 0
    while not Path(file).exists():
        number += 1
        for prompt in (1, 1, 2, 3, 4):  # hits, and misses of what two entries had no room for
            cached.create(**request_for(prompt))
        cached.create(**request_for(number), timeout=httpx.Timeout(30.0))  # no key: a bypass
        cached.create(**request_for(number), model="a-model-of-our-own")  # which has no price
        for client in (unreachable, *failing):
            with suppress(Exception):
                client.create(**request_for(number))
        for _ in range(2):  # written to the provider's prompt cache, and read
            _ask_at_length(prompts, number)
        broken = Broken(FUNCTIONS["interpret.usage.usage_of"])
        broken.start()
        cached.create(**request_for(f"{number}, unobserved"))
        broken.stop()
        time.sleep(0.1)


def _ask_at_length(client: anthropic.Anthropic, number: int) -> None:
    text = (
        f"Of matter {number}. " + "It is told at some length, with all that belongs to it. " * 800
    )
    system = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": "And?"}]
    client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, system=[system], messages=messages
    )

"""Every function that tells why calls miss fails inside live calls: the program does not notice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import anthropic
import instructor
import openai
import pytest
from instructor.cache import AutoCache, BaseCache
from support.models import City, DictCache, User
from support.prompts import GUIDE
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.versions import HAS_NAMESPACES, max_retries, namespace

from llm_cache_otel import Settings, instrument, reporter
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.cli.simulate.prompt_cache import PromptCache
from llm_cache_otel.interpret import earlier_requests, fingerprint, miss_reason, patterns
from llm_cache_otel.interpret.sent_prompts import SentPrompts
from llm_cache_otel.later import later

WATCHED = (
    *("interpret.fingerprint.", "interpret.miss_reason.", "interpret.earlier_requests."),
    "interpret.histories.",
    *("interpret.prompt_", "interpret.sent_prompts.", "interpret.patterns."),
    *("observe.sections.", "observe.sent_prompt.", "observe.keyed_request.", "emit.miss_"),
    *("observe.snapshot.", "facts.miss.KeyedRequest.", "facts.prompt.SentPrompt.length"),
    *("observe.adapter._place", "observe.adapter.full_at"),
    "observe.adapter.honours_ttl",
    *("observe.adapter._is_plain", "observe.adapter._reads_ttl"),
)
WHEN_MADE = (
    *("interpret.prompt_rules._claude", "interpret.prompt_rules.PromptRules.__init__"),
    *("interpret.prompt_cache.PromptCaches.__init__", "interpret.patterns.Patterns.__init__"),
    *("interpret.sent_prompts.SentPrompts.__init__", "interpret.histories.Histories.__init__"),
)
"""What runs when this is imported, or a client instrumented."""

ONLY_OF_WHOLE_REQUESTS = (
    *("observe.keyed_request._parameters", "interpret.patterns._parameters"),
    *("observe.keyed_request._in_key", "observe.keyed_request._is_in"),
    "observe.keyed_request._is_constant",
    "observe.sections._plain",
)
"""What runs where keys are of more than models, messages, schemas and modes."""

ONLY_BEFORE = ("observe.keyed_request.as_asked", "observe.keyed_request._copied")
"""What runs where the caller's own messages are changed."""

OF_FUNCTIONS = (
    *(f"interpret.miss_reason.CacheHistory.{what}" for what in ("used", "cleared")),
    *(f"interpret.miss_reason.CacheHistory._take_{what}" for what in ("used", "cleared")),
    *("interpret.patterns.Patterns._of_function", "interpret.patterns._no_"),
)
"""See test_function_safety.py."""

SETTINGS = Settings(prompt_retentions={"claude-sonnet-5-5": 0.001})

SABOTAGED = [
    name
    for name in FUNCTIONS
    if name.startswith(WATCHED)
    and name not in WHEN_MADE
    and not name.startswith(OF_FUNCTIONS)
    and name not in (ONLY_BEFORE if HAS_NAMESPACES else ONLY_OF_WHOLE_REQUESTS)
]


class InAnother(BaseCache):
    """Does as the adapter does that it holds."""

    def __init__(self) -> None:
        self.inner = AutoCache(maxsize=4)

    def get(self, key: str) -> Any:
        return self.inner.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self.inner.set(key, value, ttl)


def program(provider: SimulatedProvider, observe: Callable[..., None]) -> list[Any]:
    """Misses of every kind, prompts that are read and that are not, and every cause for advice."""
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    theirs = anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0)
    client = instructor.from_openai(sdk, model="gpt-4o-mini", max_tokens=100)
    claude = instructor.from_anthropic(theirs)
    observe(client, claude)
    seen: list[Any] = []
    small, inside = AutoCache(maxsize=4), InAnother()

    def ask(question: str, system: str = "Answer in few words.", **more: Any) -> None:
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": [{"type": "text", "text": question}]},
        ]
        asked = {"response_model": User, "cache": small, **namespace("n"), **more}
        try:
            seen.append(client.create(messages=messages, **asked).model_dump())
        except Exception as error:
            seen.append((type(error), type(error.__cause__)))

    ask("Who is Ada?")
    ask("Who is Ada?")
    ask("Who is Ada?", model="gpt-4o")
    ask("Who is Ada?", model="o3", response_model=City)
    provider.cues.add(Cue(status=500))
    ask("Who failed?", max_retries=max_retries(attempts=1))
    ask("Who failed?", cache_ttl=5)
    for turn in range(24):
        ask(f"Who is {('Ada', 'Bob', 'Cy', 'Di', 'Ed', 'Flo')[turn % 6]}, please?")
    for turn in range(4):
        ask("Who is Ada?", f"You answer in few words. The time is 10:{turn:02} o'clock.")
        ask("Who is Ada?", f"It is 10:{turn:02}. {GUIDE}")
        ask(f"Who is number {turn}?", GUIDE)
        ask(f"Who is number {turn}?", GUIDE[: 4 * 850], cache=None)
        if HAS_NAMESPACES:
            ask("Who is Ada?", timeout=30 + turn)
            ask("Who is Ada?", context={"of": User(name="Ada", age=turn)})
    for cache in (DictCache(), inside):
        ask("Who is Ada?", cache=cache)
        ask("Who is Ada?", cache=cache, cache_ttl=5)
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        for name in ("one", "two")
    ]
    client.create(messages=[{"role": "user", "content": "Who?"}], response_model=None, tools=tools)
    client.create(
        messages=[{"role": "user", "content": GUIDE}],
        response_model=None,
        tools=tools,
        response_format={"type": "json_object"},
    )
    for turn in range(6):
        text = {"type": "text", "text": f"{turn} {GUIDE[turn * 7 :]}"}
        marked = {**text, "cache_control": {"type": "ephemeral"}}
        answer = claude.create(
            model="claude-sonnet-5-5",
            response_model=User,
            max_tokens=100,
            messages=[{"role": "user", "content": [marked, {"type": "text", "text": "Who?"}]}],
        )
        seen.append(answer.model_dump())
    plain = [{"role": "user", "content": "Who is Ada, plainly?"}]
    seen.append(
        client.create(
            messages=plain, response_model=User, cache=small, **namespace("n")
        ).model_dump()
    )
    sdk.close()
    theirs.close()
    later.wait(10)  # while the caches live
    return seen


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.fixture(scope="module")
def without_us(simulated_provider: SimulatedProvider) -> list[Any]:
    return program(simulated_provider, lambda *targets: None)


@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    provider: SimulatedProvider,
    recording: Recording,
    without_us: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())
    # Texts whose fingerprints somebody holds on to are not looked at again.
    monkeypatch.setattr(fingerprint, "_known", WeakValueDictionary())
    monkeypatch.setattr(provider, "prompt_cache", PromptCache(time.monotonic))
    # Of so short and so mixed a program some of this would be neither forgotten nor said.
    monkeypatch.setattr(earlier_requests, "_MOST_REQUESTS", 16)
    monkeypatch.setattr(patterns, "_ONE_OF", 1_000)
    monkeypatch.setattr(miss_reason, "_MOST_NOTED", 2)
    monkeypatch.setattr(reporter, "_FEW", 1)
    sabotage = Broken(FUNCTIONS[name])

    def observe(*targets: Any) -> None:
        for target in targets:
            instrument(target, settings=SETTINGS, **recording.providers)
        sabotage.start()

    try:
        seen = program(provider, observe)
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    assert recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")


def test_what_is_left_out_exists() -> None:
    """So that the lists above can't go stale."""
    assert set(FUNCTIONS) >= {*WHEN_MADE, *ONLY_OF_WHOLE_REQUESTS, *ONLY_BEFORE}
    for prefix in WATCHED:
        assert any(name.startswith(prefix) for name in FUNCTIONS), prefix

"""What varies in a prompt without anybody meaning it is named: which message, and where in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from support.models import User
from support.prompts import GUIDE, VOLATILE, Prompt, first_difference, prose
from support.recording import Recording
from support.sellers import SELLERS, Seller, selling
from support.versions import HAS_NAMESPACES, namespace

from llm_cache_otel import instrument, reporter
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import Interval, KeyedRequest, Miss, MissReason, Section
from llm_cache_otel.interpret.miss_reason import CacheHistory
from llm_cache_otel.interpret.sent_prompts import SentPrompts

Attributes = Mapping[str, Any]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    """One that has cached no prompts yet."""
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": prompt.user},
    ]


def _chat(prompt: Prompt) -> dict[str, Any]:
    return {"messages": _messages(prompt)}


def _responses(prompt: Prompt) -> dict[str, Any]:
    return {"input": _messages(prompt)}


def _marked(prompt: Prompt) -> dict[str, Any]:
    marker = {"cache_control": {"type": "ephemeral"}}
    user = [{"type": "text", "text": prompt.user, **marker}]
    return {
        "system": [{"type": "text", "text": prompt.system, **marker}],
        "messages": [{"role": "user", "content": user}],
        "max_tokens": 100,
    }


def _pointed(prompt: Prompt) -> dict[str, Any]:
    point = {"cachePoint": {"type": "default"}}
    return {
        "system": [{"text": prompt.system}, point],
        "messages": [{"role": "user", "content": [{"text": prompt.user}, point]}],
    }


ASK = {
    "openai": _chat,
    "openai responses": _responses,
    "azure": _chat,
    "anthropic": _marked,
    "bedrock": _pointed,
}
ASK = {name: ask for name, ask in ASK.items() if name in SELLERS}
NOT_VOLATILE = {"a day in words first", "the user's name first", "one document more"}
"""Of these, what differs may well be another question."""

SYSTEM_IS_APART = ("anthropic", "bedrock")


async def _ask(seller: Seller, client: Any, request: dict[str, Any]) -> None:
    way = seller.ways["create"](client)
    result = way(model=seller.model, response_model=User, **request)
    if asyncio.iscoroutine(result):
        await result


def _call(recording: Recording) -> tuple[Attributes, Attributes]:
    """The attributes of the call and of its one attempt."""
    call, attempt = (
        next(span.attributes for span in recording.spans() if span.name.startswith(name))
        for name in ("create", "chat")
    )
    recording.clear()
    assert call is not None
    assert attempt is not None
    return call, attempt


def _names_the_block(said: Attributes, place: int, length: int) -> None:
    assert _is_in_block(said, place)
    assert said["llm_cache.divergence.block"] <= max(32, length / 256)


def _is_in_block(said: Attributes, place: int) -> bool:
    offset, block = said["llm_cache.divergence.offset"], said["llm_cache.divergence.block"]
    return bool(offset <= place < offset + max(block, 1))


def _changed(earlier: Prompt, now: Prompt) -> tuple[bool, str, int]:
    """Whether it is the system prompt, its text, and where that differs first."""
    in_system = earlier.system != now.system
    one, other = (earlier.system, now.system) if in_system else (earlier.user, now.user)
    return in_system, other, first_difference(one, other)


@pytest.mark.parametrize("kind", ASK)
@pytest.mark.parametrize("what", VOLATILE)
def test_both_layers_name_the_block(
    kind: str, what: str, provider: SimulatedProvider, recording: Recording
) -> None:
    seller = SELLERS[kind]
    if kind in SYSTEM_IS_APART and not HAS_NAMESPACES:
        pytest.skip(
            "before Instructor 1.17 keys know nothing of a system prompt that is no message"
        )

    async def run() -> None:
        async with selling(seller, provider.url, False) as client:
            client.kwargs |= {"cache": AutoCache(), **namespace("n")}
            instrument(client, **recording.providers)
            prompts = [VOLATILE[what](turn) for turn in range(3)]
            for turn, prompt in enumerate(prompts):
                await _ask(seller, client, ASK[kind](prompt))
                call, attempt = _call(recording)
                if turn == 0:
                    assert call["llm_cache.reason"] == "new_prompt"
                    assert attempt["llm_cache.prompt.reason"] == "first_seen"
                    continue
                # The earlier one that begins most like it, which need not be the last.
                in_system, text, place = max(
                    (_changed(earlier, prompt) for earlier in prompts[:turn]),
                    key=lambda changed: changed[2],
                )
                assert call["llm_cache.reason"] == "near_duplicate_prompt"
                assert call["llm_cache.divergence.volatile"] is (what not in NOT_VOLATILE)
                assert attempt["llm_cache.prompt.reason"] == "prefix_changed"
                assert "llm_cache.divergence.volatile" not in attempt
                _names_the_block(attempt, place, len(text))
                apart = in_system and kind in SYSTEM_IS_APART
                part = "system" if apart else "messages"
                number = None if apart else int(not in_system and kind not in SYSTEM_IS_APART)
                for said in (call, attempt):
                    assert said["llm_cache.divergence.part"] == part
                    assert said.get("llm_cache.divergence.message") == number
                assert any(
                    _is_in_block(call, _changed(earlier, prompt)[2]) for earlier in prompts[:turn]
                )

    asyncio.run(run())


def test_a_conversation_that_grows_is_new_and_reads_what_was_sent(
    provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        async with selling(SELLERS["openai"], provider.url, False) as client:
            client.kwargs |= {"cache": AutoCache(), **namespace("n")}
            instrument(client, **recording.providers)
            messages = _messages(Prompt(GUIDE, "Who is Ada?"))
            for turn in range(4):
                await _ask(SELLERS["openai"], client, {"messages": list(messages)})
                call, attempt = _call(recording)
                assert call["llm_cache.reason"] == "new_prompt"
                assert "llm_cache.divergence.part" not in attempt
                if turn == 0:
                    assert attempt["llm_cache.prompt.reason"] == "first_seen"
                else:
                    assert attempt["llm_cache.prompt.outcome"] == "read"
                    read = attempt["gen_ai.usage.cache_read.input_tokens"]
                    assert 0.9 < read / attempt["llm_cache.prompt.expected_tokens"] < 1.1
                messages += [
                    {"role": "assistant", "content": prose(50 + turn, 30)},
                    {"role": "user", "content": f"And who is number {turn}?"},
                ]

    asyncio.run(run())


def test_white_space_at_the_end(provider: SimulatedProvider, recording: Recording) -> None:
    """No harm to the provider's cache, for it is behind what is read; all the more to the other."""

    async def run() -> None:
        async with selling(SELLERS["openai"], provider.url, False) as client:
            client.kwargs |= {"cache": AutoCache(), **namespace("n")}
            instrument(client, **recording.providers)
            for turn in range(3):
                question = "Who is Ada, and what is she known for?" + " " * turn
                await _ask(SELLERS["openai"], client, _chat(Prompt(GUIDE, question)))
                call, attempt = _call(recording)
                if turn:
                    assert attempt["llm_cache.prompt.outcome"] == "read"
                    assert call["llm_cache.reason"] == "near_duplicate_prompt"
                    assert call["llm_cache.divergence.message"] == 1
                    assert call["llm_cache.divergence.offset"] == 32

    asyncio.run(run())


def test_another_question_is_no_near_duplicate(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """Though nearly all of the prompt is the same."""

    async def run() -> None:
        async with selling(SELLERS["openai"], provider.url, False) as client:
            client.kwargs |= {"cache": AutoCache(), **namespace("n")}
            instrument(client, **recording.providers)
            for question in ("Who is Ada?", "Where did Charles live?", "Is a loom an engine?"):
                await _ask(SELLERS["openai"], client, _chat(Prompt(GUIDE, question)))
                call, _ = _call(recording)
                assert call["llm_cache.reason"] == "new_prompt"

    asyncio.run(run())


def test_tools_in_another_order(provider: SimulatedProvider, recording: Recording) -> None:
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": prose(200 + number, 30),
                "parameters": {"type": "object", "properties": {}},
            },
        }
        for number in range(6)
    ]
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    client = instrument(instructor.from_openai(sdk), **recording.providers)
    reasons = []
    for order in ((0, 1, 2, 3, 4, 5), (1, 0, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)):
        client.create(
            model="gpt-4.1-mini",
            response_model=None,
            messages=[{"role": "user", "content": "Who is Ada?"}],
            tools=[tools[number] for number in order],
        )
        _, attempt = _call(recording)
        reasons.append(
            (attempt["llm_cache.prompt.outcome"], attempt.get("llm_cache.prompt.reason"))
        )
        if order[0] == 1:
            assert attempt["llm_cache.divergence.part"] == "tools"
            assert attempt["llm_cache.divergence.offset"] == 32, (
                "`tool_0` is within the second block"
            )
    sdk.close()
    assert reasons == [("miss", "first_seen"), ("miss", "prefix_changed"), ("read", None)]


def test_one_phrase_of_very_many_is_not_volatile() -> None:
    """More than are kept of a text; and a time is volatile all the same."""
    history = CacheHistory(honours_ttl=None)
    sentences = prose(3, 600).split(". ")
    sentences[300] = "The time is 10:00"

    def miss(changed: dict[int, str]) -> Miss | None:
        text = ". ".join(changed.get(at, each) for at, each in enumerate(sentences))
        asked = KeyedRequest((Section("messages", text, "user", 0),), {}, {})
        found = history.missed(str(changed), Interval(0, 0), lambda: asked, capacity=None)
        history.settle()
        return found.miss

    first = miss({})
    assert first is not None
    assert first.reason is MissReason.NEW_PROMPT
    timed = miss({300: "The time is 10:15"})
    assert timed is not None
    assert (timed.reason, timed.is_volatile) == (MissReason.NEAR_DUPLICATE_PROMPT, True)
    for at in range(0, 600, 29):
        found = miss({at: "This alone is otherwise"})
        assert found is not None
        assert (found.reason, found.is_volatile) == (MissReason.NEAR_DUPLICATE_PROMPT, False), at

"""What is noted of a call, and read later, says the same as it did when it was noted."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instructor.cache import AutoCache
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from support.models import User

from llm_cache_otel.facts import KeyedRequest, SentPrompt
from llm_cache_otel.interpret.usage import tells_of_no_cache, usage_of
from llm_cache_otel.observe.cache_use import MemoryTap
from llm_cache_otel.observe.clock import Clock
from llm_cache_otel.observe.inference_response import inference_response
from llm_cache_otel.observe.keyed_request import keyed_request
from llm_cache_otel.observe.lookup import Lookup, Store
from llm_cache_otel.observe.noted_answer import noted_answer
from llm_cache_otel.observe.reported import NAMES, fields_of
from llm_cache_otel.observe.sent_prompt import sent_prompt
from llm_cache_otel.observe.snapshot import Unread, plain_messages

USER = [{"role": "user", "content": "Who is Ada?"}]
LARGE = [{"role": "user", "content": "Who is Ada? " * 2_000}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Who?"}, {"text": "Ada"}]}]


class Word(str):
    __slots__ = ()


class Half(float):
    __slots__ = ()


class Reason(enum.Enum):
    STOP = "stop"


class Message(BaseModel):
    role: str = "user"
    content: str = "Who is Ada?"


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
reported = st.recursive(
    numbers | st.text(),
    lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
    max_leaves=12,
)
reasons = st.dictionaries(
    st.sampled_from(["finish_reason", "stop_reason", "index"]), numbers | st.text()
)
several = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(reasons), "candidates": st.lists(reasons)}
)
of_names = st.dictionaries(st.sampled_from(NAMES), reported)


@pytest.mark.parametrize(
    "messages",
    [
        *([Word("a")], [{"content": Word("a")}], [{Word("content"): "a"}], [Reason.STOP]),
        *([Message()], [{"role": "user", "content": None}], [{"content": ["a"]}], ["a"]),
        *(({"content": "a"},), "a", None, iter([]), [[]], [{}], [{"content": "a"}] * 600),
        [type("Derived", (dict,), {})(content="a")],
    ],
    ids=lambda messages: type(messages).__name__,
)
def test_what_else_there_is_is_not_put_off(messages: Any) -> None:
    assert plain_messages(messages) is None


def test_messages_are_copied_and_their_texts_are_not() -> None:
    text = "Who is Ada? " * 1_000
    messages = [{"role": "user", "content": text}]
    copies = plain_messages(messages)
    messages[0]["content"] = "Nobody asks that."
    messages.append({"role": "user", "content": "Nor that."})
    assert copies == [{"role": "user", "content": text}]
    assert copies[0]["content"] is text


@given(of_names, several)
def test_a_noted_answer_says_what_the_answer_said(
    named: dict[str, Any], several: dict[str, Any]
) -> None:
    fields = named | several
    noted = noted_answer(fields)
    if noted is not None:
        assert inference_response(noted) == inference_response(fields)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 3}, {"of": {"a": {"b": {"c": {}}}}}, None])
def test_what_an_sdk_answers_is_noted(usage: Any) -> None:
    """Unless it reports nothing, or in a depth that nobody does."""
    choice = SimpleNamespace(finish_reason="stop", stop_reason=None)
    answer = ChatCompletion.model_construct(
        id="a", model="m", created=3, choices=[choice], usage=usage, service_tier="flex"
    )
    fields = fields_of(answer)
    assert isinstance(fields, dict)
    noted = noted_answer(fields)
    if "prompt_tokens" not in (usage or {}):
        assert noted is None
        return
    assert noted is not None
    assert inference_response(noted) == inference_response(answer)
    usage["prompt_tokens"] = 5
    assert noted["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {str(number): number for number in range(100)}},
        {"usage": SimpleNamespace(prompt_tokens=3)},
        {"choices": ({"finish_reason": "stop"},)},
        {"choices": [{"finish_reason": Reason.STOP}]},
        {"choices": [{"finish_reason": "stop"}] * 100},
        {"service_tier": Reason.STOP},
        {"usage": None, "model": Word("m")},
        {"automatic_function_calling_history": [1], "usage": {"a": 1}},
        {"automatic_function_calling_history": "yes", "usage": {"a": 1}},
    ],
    ids=str,
)
def test_an_answer_of_other_kinds_is_read_at_once(odd: dict[str, Any]) -> None:
    assert noted_answer(odd) is None


def test_what_an_sdk_reports_of_parts_of_its_tokens_is_noted() -> None:
    details = {"cached_tokens": 2, "audio_tokens": None}
    usage = CompletionUsage.model_validate(
        {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": details,
            "of_a_proxy": {"cost": 0.5},
        }
    )
    noted = noted_answer({"usage": usage})
    assert noted is not None
    assert noted["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert noted["usage"]["of_a_proxy"] == {"cost": 0.5}
    assert inference_response(noted) == inference_response({"usage": usage})


MESSAGES = pytest.mark.parametrize(
    "messages", [USER, LARGE, PARTS, [Message()]], ids=["small", "large", "in parts", "models"]
)


@MESSAGES
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"extra_body": {"system": "Be brief.", "cache_control": {"type": "ephemeral"}}},
        {"config": {"system_instruction": "Be brief."}},
        {"prompt_cache_retention": "24h", "response_format": {"type": "json_object"}},
    ],
    ids=str,
)
def test_a_prompt_is_read_as_it_was_sent(
    messages: Any, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"model": "m", "messages": messages, **more}
    sent = sent_prompt(1, request)
    has_more = not {"extra_body", "config"}.isdisjoint(more)
    assert isinstance(sent, Unread) is (messages in (USER, LARGE) and not has_more)
    monkeypatch.setattr("llm_cache_otel.observe.sent_prompt.plain_messages", lambda _: None)
    at_once = sent_prompt(1, request)
    assert isinstance(at_once, SentPrompt)
    assert (sent.read() if isinstance(sent, Unread) else sent) == at_once


@MESSAGES
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"temperature": 0.5, "seed": 3},
        {"temperature": Half(0.5)},
        {"tools": [{"name": "f"}], "extra_headers": {"x-user": "u"}},
        {"context": {"user": Message()}},
        {"system": "Be brief."},
    ],
    ids=str,
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_a_key_is_made_of_is_read_as_it_was(
    messages: Any, more: dict[str, Any], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"model": "m", "messages": messages, "response_model": User, **more}
    arguments: dict[str, Any] = {"mode": "tools", "response_model": User, "model": "m"}
    if whole:
        arguments |= {"request": asked, "context": more.get("context"), "client_identity": ["c"]}
    keyed = keyed_request(arguments, asked)
    may_change = "system" in more or (whole and more not in ({}, {"temperature": 0.5, "seed": 3}))
    assert isinstance(keyed, Unread) is (messages in (USER, LARGE) and not may_change)
    monkeypatch.setattr("llm_cache_otel.observe.keyed_request.plain_messages", lambda _: None)
    at_once = keyed_request(arguments, asked)
    assert isinstance(at_once, KeyedRequest)
    assert keyed is not None
    assert keyed.length > 0
    assert keyed.read() == at_once


COUNTS = st.none() | st.booleans() | st.integers(-2, 3_000) | st.floats() | st.just("many")
DETAILS = st.dictionaries(
    st.sampled_from(
        ["cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens"]
    ),
    COUNTS,
)
USAGES = st.dictionaries(
    st.sampled_from(
        [
            *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "inputTokens"),
            *("prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cached_tokens"),
            *("num_cached_tokens", "cached_prompt_text_tokens", "cache_read_input_tokens"),
            *("cache_creation_input_tokens", "prompt_token_count", "cached_content_token_count"),
            *("prompt_tokens_details", "input_tokens_details"),
        ]
    ),
    COUNTS | DETAILS,
)
WITH_DETAILS = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS}, optional={"prompt_tokens_details": DETAILS}
)


@given(USAGES | WITH_DETAILS, st.none() | st.integers(0, 4_096))
def test_a_prompt_is_left_unread_only_where_nothing_is_told_by_it(
    reported: dict[str, Any], minimum: int | None
) -> None:
    """As `interpret.prompt_cache` has it: of what is not reported, and of what is too short to be cached."""
    if not tells_of_no_cache(reported, minimum):
        return
    usage = usage_of(reported).usage
    if usage is None:
        return
    assert not usage.cache_read
    assert not usage.cache_write
    if usage.cache_read is not None or usage.cache_write is not None:
        assert usage.input is not None
        assert minimum is not None
        assert usage.input < minimum


def test_a_cache_in_memory_is_told_by_what_it_was_asked() -> None:
    """Whichever of Instructor's helpers it is that asks."""
    call: Any = SimpleNamespace(clock=Clock(), backend="memory", name=None)
    tap = MemoryTap(AutoCache())
    for use in (Lookup(), Store()):
        tap._self_use = use
        tap.set("key", "äö", ttl=5)
        stored = use._backend(call)
        assert stored is not None
        assert (stored.operation, stored.hit, stored.entry_size, stored.ttl) == ("set", None, 4, 5)
        assert tap.get("key") == "äö"
        found = use._backend(call)
        assert found is not None
        assert (found.operation, found.hit, found.entry_size, found.ttl) == ("get", True, 4, None)

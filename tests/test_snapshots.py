"""What is told later is of the call as it was, whatever the program does to its own meanwhile."""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import openai
import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentConfig, GenerateContentResponse
from instructor.cache import AutoCache
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.responses import Response
from pydantic import BaseModel, ConfigDict, model_serializer
from support.models import User
from support.payloads import PAYLOADS
from support.prompts import GUIDE
from support.recording import Recording
from support.versions import namespace
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import InferenceRequest, SentPrompt
from llm_cache_otel.later import later
from llm_cache_otel.observe import keyed_request, sent_prompt
from llm_cache_otel.observe.inference_response import noted_response, whole_response
from llm_cache_otel.observe.keyed_request import noted_request
from llm_cache_otel.observe.sent_prompt import noted_prompt
from llm_cache_otel.observe.snapshot import length_of, snapshot

LONG = "words that are not copied " * 1_000


def test_texts_are_not_copied_and_what_holds_them_is() -> None:
    value = {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]}
    copied = snapshot(value)
    assert copied == value
    assert copied["messages"][0]["content"][0]["text"] is LONG
    for holder in (value, value["messages"], value["messages"][0]):
        holder.clear()
    assert length_of(copied) == len("user") + len("text") + len(LONG)


@pytest.mark.parametrize("odd", [object(), User, MappingProxyType({}), print, iter([]).__next__])
def test_what_holds_nobody_knows_what_is_refused(odd: object) -> None:
    with pytest.raises(ValueError, match=type(odd).__name__):
        snapshot({"a": [odd]})


class Why(enum.Enum):
    DONE = "done"


class BySerializer(BaseModel):
    usage: Any = None

    @model_serializer
    def written(self) -> dict[str, Any]:
        return {"usage": {"input_tokens": 999}}


class ByAnotherName(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, alias_generator=str.upper)
    usage: Any = None
    model: str = "m"


def chat(**more: Any) -> ChatCompletion:
    answer = {"role": "assistant", "content": LONG}
    choices = [{"index": 0, "finish_reason": "stop", "message": answer}]
    said = {"id": "c", "object": "chat.completion", "created": 7, "model": "m", "choices": choices}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return ChatCompletion.model_validate({**said, "usage": usage, **more})


ANSWERS: dict[str, Callable[[], Any]] = {
    "chat": chat,
    "with what no SDK knows yet": lambda: chat(
        usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "new": {"a": 1}},
        x_groq={"usage": {"queue_time": 0.1}},
        service_tier="flex",
    ),
    "half made": lambda: ChatCompletion.model_construct(id="c", usage={"prompt_tokens": 3}),
    "of odd values": lambda: ChatCompletion.model_construct(
        id=3, model=b"m", choices="none", created=datetime.now(tz=UTC), usage=[1, "a" * 90]
    ),
    "not made at all": lambda: ChatCompletion.__new__(ChatCompletion),
    "message": lambda: Message.model_validate(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "text", "text": LONG}],
            "stop_reason": "end_turn",
            "usage": PAYLOADS["openai chat, nothing cached"].reported
            | {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2},
        }
    ),
    "contents": lambda: GenerateContentResponse.model_validate(
        {
            "response_id": "g",
            "model_version": "gemini",
            "create_time": "2026-11-15T14:13:20Z",
            "candidates": [{"finish_reason": "MAX_TOKENS", "content": {"parts": [{"text": LONG}]}}],
            "usage_metadata": {"prompt_token_count": 9, "cached_content_token_count": 4},
        }
    ),
    "contents that were asked for more than once": lambda: GenerateContentResponse.model_validate(
        {
            "usage_metadata": {"prompt_token_count": 9},
            "automatic_function_calling_history": [{"role": "user", "parts": [{"text": LONG}]}],
        }
    ),
    "response": lambda: Response.model_construct(
        id="r", model="m", created_at=7.5, output=[], usage=PAYLOADS["openai responses"].reported
    ),
    "a mapping": lambda: {"id": "c", "usage": {"prompt_tokens": 9}, "stopReason": "end_turn"},
    "by its serializer": lambda: BySerializer(usage={"input_tokens": 3}),
    "by another name": lambda: ByAnotherName.model_construct(usage={"input_tokens": 3}),
    "an enumeration": lambda: chat().model_copy(update={"choices": [{"finish_reason": Why.DONE}]}),
    "nothing": lambda: None,
    **{name: partial(dict, usage=payload.reported) for name, payload in PAYLOADS.items()},
}


@pytest.mark.parametrize("make", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_says_later_what_it_said_at_once(make: Callable[[], Any]) -> None:
    answer = make()
    at_once, later_on = whole_response(answer), noted_response(answer)
    usage = getattr(answer, "__dict__", {}).get("usage")
    if isinstance(usage, BaseModel):
        for name in list(usage.__dict__):
            usage.__dict__[name] = 12_345  # as Instructor adds its totals up
    assert later_on() == at_once
    assert "words" not in repr(getattr(later_on, "args", "")), (
        "nothing of the answer's text is held"
    )


ASKED: dict[str, Callable[[], dict[str, Any]]] = {
    "a text": lambda: {"messages": [{"role": "user", "content": LONG}]},
    "parts": lambda: {
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Who?"}, {"image": b"bytes"}]}
        ],
        "tools": [{"name": "User", "input_schema": {"type": "object"}}],
    },
    "a model of the SDK's": lambda: {
        "messages": [
            {"role": "user", "content": "Who?"},
            ChatCompletionMessage(role="assistant", content="Ada"),
        ]
    },
    "what can't be copied": lambda: {
        "messages": [MappingProxyType({"role": "user", "content": "Who?"})],
        "tools": [{"name": "User"}],
    },
    "a config": lambda: {
        "contents": "Who?",
        "config": GenerateContentConfig(system_instruction=LONG, temperature=0.5),
    },
    "a body": lambda: {
        "messages": [{"role": "user", "content": "Who?"}],
        "extra_body": {"prompt_cache_retention": "24h"},
        "prompt_cache_options": {"ttl": "30m"},
    },
    "a schema": lambda: {
        "input": "Who?",
        "text": {"format": {"type": "json_schema", "schema": {"a": 1}}},
    },
    "nothing": dict,
}


def spoilt(value: Any, seen: set[int]) -> None:
    """All that can be changed, changed in place."""
    if id(value) in seen:
        return
    seen.add(id(value))
    inner = [*value.values()] if isinstance(value, dict) else value if type(value) is list else []
    for each in inner:
        spoilt(each, seen)
    if isinstance(value, (dict, list)):
        value.clear()


def refuse(value: object) -> None:
    raise ValueError(value)


def sent(asked: dict[str, Any], client: Any = None) -> Callable[[], SentPrompt | None]:
    return noted_prompt(InferenceRequest("chat", "p", "m"), client, asked, str.upper)


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_a_prompt_is_told_as_it_was_sent(
    make: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sent_prompt, "snapshot", refuse)
        at_once = sent(make())()
    asked = make()
    noted = sent(asked)
    spoilt(asked, set())
    assert noted() == at_once


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_a_request_is_told_as_it_was_keyed(
    make: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> dict[str, Any]:
        more = {"temperature": 0.5, "extra_headers": {"x-user": "u"}, "model": "m"}
        return {**make(), **more, "response_model": User}

    def arguments(request: dict[str, Any]) -> dict[str, Any]:
        more = {"mode": "tool_call", "strict": True, "args": (), "provider": "openai"}
        return {"request": {**request}, **more, "context": {"today": [1, 2]}}

    with monkeypatch.context() as patch:
        patch.setattr(keyed_request, "snapshot", refuse)
        at_once = noted_request(arguments(asked()), asked())
    request = asked()
    given = arguments(request)
    noted = noted_request(given, request)
    spoilt(request, set())
    spoilt(given["context"], set())
    assert (noted and noted.read()) == (at_once and at_once.read())


def test_what_holds_itself_is_not_told() -> None:
    message: dict[str, Any] = {"role": "user"}
    message["content"] = [message]
    assert sent({"messages": [message]})() is None
    asked = {"messages": [message], "response_model": User}
    noted = noted_request({"request": asked, "mode": "tool_call"}, asked)
    assert noted is None or noted.read() is None


def test_accounts_are_told_apart_by_what_a_client_has_or_its_class() -> None:
    class Slotted:
        __slots__ = ("api_key",)

        def __init__(self, api_key: str) -> None:
            self.api_key = api_key

    class OfGoogle:
        def __init__(self, api_key: str) -> None:
            self._api_client = Slotted(api_key)

    class OfBotocore:
        def __init__(self, api_key: str) -> None:
            self.meta = api_key

    def held(api_key: str) -> Any:
        return openai.OpenAI(api_key=api_key)

    def space(client: Any) -> str:
        prompt = sent({"messages": "Who?"}, client)()
        assert prompt is not None
        return prompt.space

    for kind in (Slotted, OfGoogle, OfBotocore, held):
        one, other = kind("one"), kind("two")
        assert space(one) != space(other)
        assert space(one) == space(one)
    assert space(held("one")) == "P\nNONE\nNONE\nM\nONE"


def test_what_a_program_changes_after_its_call_is_not_told(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = make_client(provider, cache=AutoCache(), **namespace("n"))
    instrument(client, **recording.providers)

    def ask(messages: list[dict[str, Any]]) -> Any:
        asked = {"model": MODEL, "messages": messages, "response_model": User}
        return client.create_with_completion(**asked)

    history = [{"role": "user", "content": f"{GUIDE} Who is Ada?"}]
    _, completion = ask(history)
    reported = copy.deepcopy(completion.usage)
    completion.usage.prompt_tokens = 0
    history[0]["content"] = "Nobody asks that."
    history.append({"role": "user", "content": "Nor that."})
    attempt = next(span for span in recording.spans() if span.name.startswith("chat"))
    assert (attempt.attributes or {})["gen_ai.usage.input_tokens"] == reported.prompt_tokens
    recording.clear()
    ask([{"role": "user", "content": f"{GUIDE} How old is she?"}])
    later.wait(10)
    miss = next(span.attributes or {} for span in recording.spans() if "create" in span.name)
    assert miss["llm_cache.reason"] == "near_duplicate_prompt"
    assert miss["llm_cache.divergence.message"] == 0
    client.client.close()

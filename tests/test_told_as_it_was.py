"""What is told of a call is what it was, whatever the program does to its own until then."""

from __future__ import annotations

import copy
from typing import Any

import openai
import pytest
from instructor.cache import AutoCache
from support.models import MESSAGES, User
from support.prompts import GUIDE
from support.recording import Recording
from support.versions import namespace
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import InferenceRequest
from llm_cache_otel.observe.attempt import Attempt
from llm_cache_otel.observe.sent_prompt import prompt_space


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
    completion.model = "another"
    history[0]["content"] = "Nobody asks that."
    history.append({"role": "user", "content": "Nor that."})
    attempt = next(span for span in recording.spans() if span.name.startswith("chat"))
    told = attempt.attributes or {}
    assert told["gen_ai.usage.input_tokens"] == reported.prompt_tokens
    assert told["gen_ai.response.model"] != "another"
    recording.clear()
    ask([{"role": "user", "content": f"{GUIDE} How old is she?"}])
    miss = next(span.attributes or {} for span in recording.spans() if "create" in span.name)
    assert miss["llm_cache.reason"] == "near_duplicate_prompt"
    assert miss["llm_cache.divergence.message"] == 0
    client.client.close()


def test_what_a_stream_says_after_the_end_of_its_call_is_not_told(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """Instructor gives up a stream that it can't read, and somebody may read on."""
    client = make_client(provider)
    instrument(client, **recording.providers)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    stream = client.create(model=MODEL, messages=MESSAGES, response_model=None, **more)
    chunks = [next(stream)]
    attempt: Attempt = stream._iterator._on_end.__self__
    attempt.over(1)
    chunks += stream
    assert chunks[-1].usage is not None
    assert attempt.facts().response.reported is None
    client.client.close()


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


class OfItsClass:
    organization = "all"

    def __init__(self, api_key: str) -> None:
        self.project = api_key


def of_openai(api_key: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=api_key)


@pytest.mark.parametrize("make", [Slotted, OfGoogle, OfBotocore, OfItsClass, of_openai])
def test_accounts_are_told_apart_wherever_a_client_has_its_own(make: Any) -> None:
    request = InferenceRequest("chat", "p", "m")
    one, other = make("one"), make("two")
    assert prompt_space(request, one, {}) != prompt_space(request, other, {})
    assert prompt_space(request, one, {}) == prompt_space(request, one, {})
    assert prompt_space(request, None, {}) == "p\nNone\nNone\nm"

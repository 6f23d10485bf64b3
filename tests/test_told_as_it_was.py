"""What is told of a call is what it was, whatever the program does to its own until then."""

from __future__ import annotations

import contextvars
import copy
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from pydantic import BaseModel
from support.models import MESSAGES, User
from support.prompts import GUIDE
from support.recording import Recording
from support.sellers import SELLERS
from support.versions import namespace
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.facts import InferenceRequest
from llm_cache_otel.later import later
from llm_cache_otel.observe.attempt import Attempt
from llm_cache_otel.observe.sent_prompt import prompt_space


@pytest.mark.parametrize("in_parts", [False, True], ids=["read later", "read at once"])
def test_what_a_program_changes_after_its_call_is_not_told(
    in_parts: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    client = make_client(provider, cache=AutoCache(), **namespace("n"))
    instrument(client, **recording.providers)

    def content(text: str) -> Any:
        return [{"type": "text", "text": text}] if in_parts else text

    def ask(messages: list[dict[str, Any]]) -> Any:
        asked = {"model": MODEL, "messages": messages, "response_model": User}
        return client.create_with_completion(**asked)

    history = [{"role": "user", "content": content(f"{GUIDE} Who is Ada?")}]
    _, completion = ask(history)
    reported = copy.deepcopy(completion.usage)
    completion.usage.prompt_tokens = 0
    completion.model = "another"
    if in_parts:
        history[0]["content"][0]["text"] = "Nobody asks that."
    history[0]["content"] = "Nobody asks that."
    history.append({"role": "user", "content": "Nor that."})
    attempt = next(span for span in recording.spans() if span.name.startswith("chat"))
    told = attempt.attributes or {}
    assert told["gen_ai.usage.input_tokens"] == reported.prompt_tokens
    assert told["gen_ai.response.model"] != "another"
    recording.clear()
    ask([{"role": "user", "content": content(f"{GUIDE} How old is she?")}])
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


def test_what_goes_on_after_a_program_has_given_up_is_not_told(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """It waits for an answer no longer, and Instructor asks twice for it nevertheless."""
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    is_asked, may_answer = threading.Event(), threading.Event()

    def slow(**request: Any) -> Any:
        is_asked.set()
        assert may_answer.wait(10)
        return sdk.chat.completions.create(**request)

    client = instructor.Instructor(client=sdk, create=instructor.patch(create=slow))
    create, waited_for = client.create_fn, []

    def given_up(*args: Any, **kwargs: Any) -> Any:
        context = contextvars.copy_context()
        waited_for.append(pool.submit(context.run, create, *args, **kwargs))
        assert is_asked.wait(10)
        raise TimeoutError

    provider.cues.add(Cue(answer={}))
    with ThreadPoolExecutor() as pool:
        client.create_fn = given_up
        instrument(client, **recording.providers)
        with pytest.raises(TimeoutError):
            client.create(model=MODEL, messages=MESSAGES, response_model=User)
        may_answer.set()
        assert waited_for[0].result(10).name
    [create_span] = recording.spans("create User")
    assert (create_span.attributes or {})["llm_cache.attempts"] == 1
    [attempt] = [span for span in recording.spans() if span.name.startswith("chat")]
    assert attempt.end_time == create_span.end_time
    assert "gen_ai.usage.input_tokens" not in (attempt.attributes or {})
    assert recording.sums("llm_cache.instrumentation.errors", "error.type") == {}
    sdk.close()


@pytest.mark.skipif("bedrock" not in SELLERS, reason="of which this Instructor asks for no tools")
def test_a_default_model_by_another_name_is_told_of_a_miss_and_a_hit(
    provider: SimulatedProvider, recording: Recording
) -> None:
    seller = SELLERS["bedrock"]
    bare = seller.make(provider.url, False)
    client = instructor.from_bedrock(bare.client, model=seller.model, cache=AutoCache())
    instrument(client, **recording.providers)
    for _ in range(2):
        client.create(response_model=User, **seller.request("", "Who is Ada?"))
    told = [span.attributes or {} for span in recording.spans("create User")]
    assert [each["llm_cache.outcome"] for each in told] == ["miss", "hit"]
    assert {each["gen_ai.request.model"] for each in told} == {seller.model}
    bare.client.close()


class Down(Exception):
    """A cache's."""


@pytest.mark.parametrize("method", ["get", "set"])
def test_what_failed_in_memory_is_freed_at_once(
    method: str, provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Text(dict[str, Any]):
        pass

    def fails(*_: object, **__: object) -> None:
        raise Down

    def ask() -> weakref.ref[Any]:
        cache = AutoCache()
        monkeypatch.setattr(cache, method, fails)
        client = instrument(make_client(provider, cache=cache), **recording.providers)
        message = Text(role="user", content="Who is Ada?")
        with pytest.raises(Down):
            client.create(model=MODEL, messages=[message], response_model=User)
        client.client.close()
        monkeypatch.undo()
        return weakref.ref(message)

    ask()
    gc.collect()
    gc.disable()
    try:
        held = ask()
        later.wait(10)
        assert held() is None
    finally:
        gc.enable()


def test_the_prompt_of_an_answer_that_reports_nothing_is_not_read(recording: Recording) -> None:
    dumped: list[str] = []

    class Part(BaseModel):
        def model_dump(self, *args: Any, **kwargs: Any) -> Any:
            dumped.append("by us")
            return super().model_dump(*args, **kwargs)

    answer = {"id": "a", "model": "m", "usage": None, "choices": [{"finish_reason": "stop"}]}
    create = instructor.patch(create=lambda **_: answer)
    client = instrument(instructor.Instructor(None, create=create), **recording.providers)
    messages = [{"role": "user", "content": [{"type": "text", "text": "Who?", "more": Part()}]}]
    assert client.create(model=MODEL, messages=messages, response_model=None) is answer
    assert len(recording.spans()) == 2
    assert dumped == []


class Unhashable(str):
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


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
    assert prompt_space(request, None, {}) != prompt_space(request, one, {})
    asked = {"prompt_cache_key": Unhashable("a")}
    assert prompt_space(request, one, asked) == prompt_space(
        request, one, {"prompt_cache_key": "a"}
    )

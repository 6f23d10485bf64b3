"""Clients, SDKs and functions that nobody expected: the program works as without us, and counts are right."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any
from unittest import mock

import httpx
import instructor
import openai
import pytest
import wrapt
from instructor.cache import AutoCache
from openai.types.chat import ChatCompletion
from support.clients import request_for
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import Settings, instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from llm_cache_otel.observe.doors import door_for

OUTCOMES = ("llm_cache.requests", "llm_cache.outcome")


@pytest.fixture
def every_client(recording: Recording) -> Iterator[None]:
    LLMCacheInstrumentor().instrument(**recording.providers)
    yield
    LLMCacheInstrumentor().uninstrument()


def request() -> dict[str, Any]:
    return request_for("from_openai")


def sdk(provider: SimulatedProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.usefixtures("every_client")
def test_a_client_that_its_sdk_client_holds_is_let_go(given: bool, recording: Recording) -> None:
    class OwnOpenAI(openai.OpenAI):
        @cached_property
        def structured(self) -> Any:
            return instructor.from_openai(self)

    shared, references = httpx.Client(), []
    for _ in range(3):
        client = OwnOpenAI(api_key="k", http_client=shared).structured
        if given:
            instrument(client, **recording.providers)
        assert callable(client.create_fn)
        references.append(weakref.ref(client))
        del client
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]
    shared.close()


class Equal(instructor.Instructor):
    """Equal to any other, and not hashable."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    __hash__ = None  # type: ignore[assignment]


def test_clients_are_told_apart_by_identity(
    provider: SimulatedProvider, recording: Recording
) -> None:
    openai_client = sdk(provider)
    one, two = (
        Equal(openai_client, instructor.patch(create=openai_client.chat.completions.create))
        for _ in range(2)
    )
    for client in (one, two):
        instrument(client, **recording.providers)
    uninstrument(one)
    two.create(**request_for("from_openai", AutoCache()))
    one.create(**request())
    assert recording.sums(*OUTCOMES) == {"miss": 1}
    uninstrument(two)
    openai_client.close()


class Locked(instructor.Instructor):
    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise PermissionError("no introspection")
        return super().__getattribute__(name)


@pytest.mark.usefixtures("every_client")
def test_a_client_may_keep_its_attributes_to_itself() -> None:
    answer = "an answer"
    client = Locked(client=None, create=lambda **_: answer)
    assert client.create(**request()) == "an answer"
    assert client.create_fn


@pytest.mark.usefixtures("every_client")
def test_instructors_functions_are_pickled_and_copied_by_their_names() -> None:
    functions = [instructor.patch, instructor.cache.load_cached_response]
    for function in functions:
        for made in (pickle.loads(pickle.dumps(function)), copy.deepcopy(function)):
            assert made.__qualname__ == function.__qualname__
        assert copy.copy(function).__module__ == function.__module__


def test_what_somebody_put_back_is_not_wrapped_again(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, elsewhere = instructor.patch, sys.modules[instructor.patch.__module__]
    instrumentor = LLMCacheInstrumentor()
    instrumentor.instrument(**recording.providers)
    ours = instructor.patch
    instrumentor.uninstrument()
    monkeypatch.setattr(instructor, "patch", ours)
    instrumentor.instrument(**recording.providers)
    try:
        assert instructor.patch is vars(elsewhere)["patch"]
        assert instructor.patch not in (original, ours)
    finally:
        instrumentor.uninstrument()
    assert instructor.patch is original


@pytest.mark.usefixtures("every_client")
def test_a_create_that_is_no_function_is_pickled_as_it_is() -> None:
    create = partial(dict, answer=7)
    client = instructor.Instructor(client=None, create=create)
    made = pickle.loads(pickle.dumps(client.create_fn))
    assert (type(made), made()) == (partial, {"answer": 7})


@pytest.mark.usefixtures("every_client")
def test_a_create_that_adds_to_the_messages_counts_once(
    provider: SimulatedProvider, recording: Recording
) -> None:
    openai_client = sdk(provider)
    base = instructor.patch(create=openai_client.chat.completions.create)

    def create(*args: Any, messages: list[Any], **kwargs: Any) -> Any:
        return base(*args, messages=[{"role": "system", "content": "x"}, *messages], **kwargs)

    client = instructor.Instructor(openai_client, create, cache=AutoCache())
    for _ in range(2):
        client.create(**request())
    assert recording.sums(*OUTCOMES) == {"miss": 1, "hit": 1}
    openai_client.close()


@pytest.mark.usefixtures("every_client")
def test_a_coroutine_bears_the_name_of_the_function_that_made_it() -> None:
    bare = instructor.patch(openai.AsyncOpenAI(api_key="k")).chat.completions.create
    coroutine = bare(**request())
    assert coroutine.__qualname__ == bare.__qualname__ != "_async_wrapper.<locals>.create"
    coroutine.close()


def test_a_stand_in_for_a_client_is_no_client(
    provider: SimulatedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(provider)
    for stand_in in (weakref.proxy(client), wrapt.ObjectProxy(client), mock.Mock(spec=client)):
        assert instrument(stand_in) is stand_in
        assert "hand in the client itself" in caplog.text
        caplog.clear()
        uninstrument(stand_in)
    client.client.close()


def _decorated(client: Any, openai_client: Any) -> Any:
    inner = client.create_fn

    def logged(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return instructor.Instructor(client=openai_client, create=logged).create


@pytest.mark.parametrize(
    "made",
    [
        lambda client, sdk: instructor.from_openai(instructor.patch(sdk)).create,
        lambda client, sdk: instructor.patch(
            None, instructor.patch(None, sdk.chat.completions.create)
        ),
        _decorated,
    ],
    ids=["from a patched client", "patched by position", "another client's, decorated"],
)
@pytest.mark.usefixtures("every_client")
def test_one_call_through_several_functions_of_ours_counts_once(
    made: Callable[..., Any], provider: SimulatedProvider, recording: Recording
) -> None:
    openai_client, client = sdk(provider), make_client(provider)
    made(client, openai_client)(**{**request(), "response_model": None})
    assert recording.sums(*OUTCOMES) == {"off": 1}
    assert len(recording.spans("chat gpt-4.1-mini")) == 1
    openai_client.close()
    client.client.close()


def test_a_client_that_was_patched_again_is_let_go(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instructor.patch(sdk(provider))
    instrument(client, **recording.providers)
    client = instructor.patch(client)
    uninstrument(client)
    client.chat.completions.create(**{**request(), "response_model": None})
    assert recording.spans() == []
    client.close()


def test_patched_by_many_threads_nothing_is_left(recording: Recording) -> None:
    LLMCacheInstrumentor().instrument(**recording.providers)
    shared, clients = httpx.Client(), []

    def work() -> None:
        for _ in range(20):
            clients.append(instructor.patch(openai.OpenAI(api_key="k", http_client=shared)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    LLMCacheInstrumentor().uninstrument()
    assert {type(client.chat.completions.create) for client in clients} == {type(lambda: None)}
    shared.close()


class Answering:
    """An SDK's method that has an answer for every attribute."""

    def __call__(self, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__wrapped__":
            raise AttributeError(name)
        return Answering()


def test_functions_that_wrap_without_end_are_not_taken_for_instructors() -> None:
    first, second = (lambda: None), (lambda: None)
    first.__wrapped__, second.__wrapped__ = second, first  # type: ignore[attr-defined]
    for create in (Answering(), first):
        client = openai.OpenAI(api_key="k")
        client.chat.completions.create = create  # type: ignore[method-assign]
        assert type(door_for(client)) is type(door_for(openai.OpenAI(api_key="k")))
        assert client.chat.completions.create is create
        client.close()


@pytest.mark.parametrize("url", ["http://host:99999/", 3, "\ud800"])
def test_an_odd_address_costs_no_attempt(
    url: Any, provider: SimulatedProvider, recording: Recording
) -> None:
    client = make_client(provider)
    client.client._base_url = url

    class OddOpenAI:
        base_url = url

    working = make_client(provider)
    client = instructor.Instructor(client=OddOpenAI(), create=working.create_fn)
    instrument(client, **recording.providers)
    client.create(**request())
    assert recording.span("create User").attributes["llm_cache.attempts"] == 1
    assert len(recording.spans("chat gpt-4.1-mini")) == 1
    uninstrument(client)
    working.client.close()


def test_text_that_can_not_be_sent_is_made_so(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instructor.Instructor(client=None, create=lambda **_: None)
    instrument(client, **recording.providers)
    client.create(messages=[], response_model=None, model="\ud800x")
    assert recording.span("create").attributes["gen_ai.request.model"] == "?x"
    uninstrument(client)


def test_a_model_of_a_class_made_of_str_is_what_it_is_one_of(recording: Recording) -> None:
    """Such as a member of an enumeration; and one that can't be counted by."""

    class Odd(str):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    client = instructor.Instructor(client=None, create=lambda **_: None)
    instrument(client, **recording.providers)
    client.create(messages=[], response_model=None, model=Odd("gpt-4.1-mini"))
    assert recording.sums("llm_cache.requests", "gen_ai.request.model") == {"gpt-4.1-mini": 1}
    (span,) = recording.spans("create")
    assert type(span.attributes["gen_ai.request.model"]) is str
    uninstrument(client)


def test_what_the_provider_says_of_itself_is_sent_in_metrics_as_in_spans(
    recording: Recording,
) -> None:
    answer = ChatCompletion.model_construct(
        id="x" * 10_000, model="\ud800" + "y" * 10_000, choices=[], created=0
    )
    create = instructor.patch(create=lambda **_: answer)
    client = instructor.Instructor(client=None, create=create)
    instrument(client, **recording.providers)
    client.create(
        messages=[], response_model=None, model="m", seed=2**63, max_tokens=7, temperature=10**400
    )
    points = recording.raw_points()
    assert "llm_cache.instrumentation.errors" not in [metric.name for metric, _ in points]
    (attempt,) = [span for span in recording.spans() if span.name == "chat m"]
    assert attempt.attributes["gen_ai.response.model"] == "?" + "y" * 1_023
    assert len(attempt.attributes["gen_ai.response.id"]) == 1_024
    assert "gen_ai.request.seed" not in attempt.attributes
    assert "gen_ai.request.temperature" not in attempt.attributes
    assert attempt.attributes["gen_ai.request.max_tokens"] == 7
    models = {
        point.attributes.get("gen_ai.response.model")
        for metric, point in points
        if metric.name == "gen_ai.client.operation.duration"
    }
    assert models == {"?" + "y" * 1_023}
    uninstrument(client)


def test_a_salt_that_can_not_be_used_is_refused_at_the_front_door(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="digest_salt"):
        Settings(digest_salt="\ud800")
    with pytest.raises(ValueError, match=r"instrument\(name=...\) must be text that UTF-8"):
        instrument(instructor.Instructor(client=None, create=print), name="\ud800")
    monkeypatch.setenv("LLM_CACHE_OTEL_DIGEST_SALT", "\udcff")
    assert Settings().digest_salt.isascii()


def test_a_name_is_added_to_what_every_client_is_told(
    provider: SimulatedProvider, recording: Recording
) -> None:
    LLMCacheInstrumentor().instrument(
        settings=Settings(inference_spans="never"), **recording.providers
    )
    client = instrument(make_client(provider), name="extraction")
    client.create(**request())
    assert recording.span("create User").attributes["llm_cache.name"] == "extraction"
    assert [span.name for span in recording.spans()] == ["create User"]
    LLMCacheInstrumentor().uninstrument()
    uninstrument(client)
    client.client.close()

"""Nothing of a call is held on to by what outlives it: streams, and contexts that somebody has copied."""

from __future__ import annotations

import contextvars
import gc
import weakref
from typing import Any

import pytest
from instructor.cache import AutoCache
from pydantic import BaseModel, field_validator
from support.models import MESSAGES, DictCache, User
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.observe.call import Call
from llm_cache_otel.observe.function_call import FunctionCall
from llm_cache_otel.observe.step import NOWHERE, surroundings

copied: list[contextvars.Context] = []


class Copying(BaseModel):
    """Whose validator begins what lives on, in a context of its own: a task, a thread, a connection."""

    name: str
    age: int

    @field_validator("name")
    @classmethod
    def copy_context(cls, name: str) -> str:
        copied.append(contextvars.copy_context())
        return name


class Messages(list[Any]):
    """Which can be referred to weakly."""


@pytest.mark.parametrize("store", [AutoCache, DictCache])
def test_a_context_that_is_copied_in_a_validator_has_nothing_of_the_call(
    store: Any, provider: SimulatedProvider, recording: Recording
) -> None:
    copied.clear()
    provider.cues.default = Cue(answer={"name": "Ada", "age": 36})
    client = instrument(make_client(provider, cache=store()), **recording.providers)
    for _ in range(2):
        client.create(model=MODEL, messages=MESSAGES, response_model=Copying)
    client.client.close()
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"miss": 1, "hit": 1}
    assert len(copied) == 2
    found = [context.run(surroundings.get, NOWHERE) for context in copied]
    assert not any(isinstance(each, Call) for each in found)
    assert [each.call for each in found] == [None, None]


def test_a_stream_that_is_held_holds_no_messages(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(make_client(provider), **recording.providers)
    messages = Messages(MESSAGES)
    alive = weakref.ref(messages)
    stream = client.create(model=MODEL, messages=messages, response_model=None, stream=True)
    next(iter(stream))
    del messages
    gc.collect()
    assert alive() is None
    for _ in stream:
        pass
    client.client.close()


def test_a_context_that_is_copied_in_a_store_has_nothing_of_the_function(
    recording: Recording,
) -> None:
    """As a connection of `redis.asyncio` has it that is opened when the store is first asked."""
    copied.clear()

    class Store(DictCache):
        def get(self, key: str) -> Any:
            copied.append(contextvars.copy_context())
            return super().get(key)

    class Request:
        """The host's, which the function knows."""

    store = instrument(Store(), **recording.providers)

    def serve() -> weakref.ref[Request]:
        request = Request()

        def asking(text: str) -> Any:
            found = store.get(text)
            if found is None:
                found = User(name=str(id(request)), age=1).model_dump_json()
                store.set(text, found)
            return found

        instrument(asking, **recording.providers)("x")
        return weakref.ref(request)

    request = serve()
    recording.clear()
    gc.collect()
    assert len(copied) == 1
    assert request() is None
    assert not any(isinstance(each, FunctionCall) for each in gc.get_objects())

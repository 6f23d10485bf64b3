"""Results, exceptions, hooks, raw responses and streams are what they are without us."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Iterator
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from pydantic import BaseModel, field_validator
from support.models import MESSAGES, User
from support.recording import Recording
from support.versions import (
    HAS_HOOKS_PER_CALL,
    HAS_USAGE_HOOK,
    ITERABLES_ARE_LAZY,
    PARTIALS_ARE_LISTS,
    max_retries,
)
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.observe.instructor_api import Hooks, InstructorRetryException

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}
OTHER = {**REQUEST, "messages": [{"role": "user", "content": "Grace is 85"}]}


@pytest.fixture(params=[False, True], ids=["bare", "observed"])
def client(
    request: pytest.FixtureRequest, provider: SimulatedProvider, recording: Recording
) -> Any:
    """The same test passes without us and with us: what it says of the host holds for both."""
    client = make_client(provider, cache=AutoCache())
    if request.param:
        instrument(client, **recording.providers)
    yield client
    client.client.close()


def test_the_raw_response_is_the_providers_own_and_after_a_hit_the_rebuilt_one(client: Any) -> None:
    first, completion = client.create_with_completion(**REQUEST)
    again, rebuilt = client.create_with_completion(**REQUEST)
    assert isinstance(first, User)
    assert isinstance(completion, openai.types.chat.ChatCompletion)
    assert type(rebuilt).__name__ == "SimpleNamespace"
    assert again.model_dump() == first.model_dump()
    assert rebuilt.usage.total_tokens == completion.usage.total_tokens


def causes(error: BaseException | None) -> Iterator[type[BaseException]]:
    while error := error and (error.__cause__ or error.__context__):
        yield type(error)


def test_exceptions_arrive_as_they_were_raised(client: Any, provider: SimulatedProvider) -> None:
    provider.cues.add(Cue(status=429, message="slow down"))
    with pytest.raises(InstructorRetryException) as raised:
        client.create(**REQUEST, max_retries=max_retries(attempts=1))
    assert openai.RateLimitError in causes(raised.value)
    assert raised.value.n_attempts == 1
    assert "slow down" in str(raised.value)
    assert not getattr(raised.value, "__notes__", [])


def test_the_users_own_hooks_see_what_they_saw_and_stay_theirs(
    client: Any, provider: SimulatedProvider
) -> None:
    seen: list[str] = []
    per_call = Hooks()
    usage = ["completion:usage"] if HAS_USAGE_HOOK else []
    names = ["completion:kwargs", "completion:response", "parse:error", *usage]
    for name in names:
        client.on(name, lambda *args, _name=name, **kwargs: seen.append(_name))
        per_call.on(name, lambda *args, _name=name, **kwargs: seen.append(f"call {_name}"))
    handlers = {name: list(handlers) for name, handlers in client.hooks._handlers.items()}
    provider.cues.add(Cue(answer={}))
    client.create(**REQUEST, **({"hooks": per_call} if HAS_HOOKS_PER_CALL else {}))
    both = lambda name: [name, f"call {name}"] if HAS_HOOKS_PER_CALL else [name]  # noqa: E731
    assert seen == [
        *both("completion:kwargs"),
        *both("completion:response"),
        *(both(usage[0]) if usage else []),
        *both("parse:error"),
        *both("completion:kwargs"),
        *both("completion:response"),
        *(both(usage[0]) if usage else []),
    ]
    assert {name: list(handlers) for name, handlers in client.hooks._handlers.items()} == handlers
    client.clear()
    seen.clear()
    client.create(**OTHER)
    assert seen == []


def test_a_hook_that_raises_warns_as_before(client: Any) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("the user's own")

    client.on("completion:kwargs", broken)
    with pytest.warns(UserWarning, match="the user's own"):
        client.create(**REQUEST)


def test_a_stream_is_the_same_object_and_gives_the_same_chunks(client: Any) -> None:
    request = {**REQUEST, "response_model": None, "stream": True}
    stream = client.create(**request)
    assert type(stream) is openai.Stream
    chunks = [chunk.id for chunk in stream]
    assert len(chunks) > 3
    with client.create(**request) as stream:
        assert next(iter(stream)).id == chunks[0]


def test_partial_and_iterable_give_what_they_gave(client: Any) -> None:
    partials = client.create_partial(**REQUEST)
    assert isinstance(partials, list) == PARTIALS_ARE_LISTS
    assert [partial.age for partial in partials][-1]
    users = client.create_iterable(**REQUEST)
    if ITERABLES_ARE_LAZY:
        assert inspect.isgenerator(users)
        assert users.__name__ == "from_streaming_response"
    assert [type(user) for user in users] == [User] * 3


def test_a_validator_may_call_the_same_client(client: Any) -> None:
    class Checked(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, name: str) -> str:
            assert client.create(**REQUEST).name
            return name

    request = {**REQUEST, "response_model": Checked}
    assert client.create(**request).model_dump() == client.create(**request).model_dump()


def test_async_results_and_cancellation(provider: SimulatedProvider, recording: Recording) -> None:
    async def run(observed: bool) -> list[Any]:
        client = make_client(provider, asynchronous=True, cache=AutoCache())
        if observed:
            instrument(client, **recording.providers)
        fates: list[Any] = [(await client.create(**REQUEST)).model_dump()]
        provider.cues.add(Cue(delay=30))
        task = asyncio.create_task(client.create(**OTHER))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fates.append(task.cancelled())
        fates.append([type(item).__name__ async for item in client.create_iterable(**REQUEST)])
        await client.client.close()
        return fates

    assert asyncio.run(run(False)) == asyncio.run(run(True))
    gc.collect()


def test_instructors_type_checks_still_hold(client: Any) -> None:
    assert isinstance(client, instructor.Instructor)
    assert not isinstance(client, instructor.AsyncInstructor)
    assert callable(client.create_fn)


def test_a_finished_call_leaves_nothing_for_the_garbage_collector(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)
    client.create(**REQUEST)
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        client.create(**REQUEST)
        client.create(**OTHER)
        gc.collect()
        ours = [kept for kept in gc.garbage if type(kept).__module__.startswith("llm_cache_otel")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    client.client.close()
    assert ours == []


class Unreadable:
    """An answer of a provider's that can't be looked at, or only once."""

    def __init__(self) -> None:
        self.choices = iter("abc")

    @property
    def model(self) -> str:
        raise RuntimeError("not loaded")


@pytest.fixture
def may_fail_inside(request: pytest.FixtureRequest) -> bool:
    return request.node.name == "test_an_answer_that_cannot_be_read_is_counted_and_left_alone"


def test_an_answer_that_cannot_be_read_is_counted_and_left_alone(recording: Recording) -> None:
    answer = Unreadable()
    create = instructor.patch(create=lambda **_: answer)
    client = instrument(instructor.Instructor(None, create=create), **recording.providers)
    assert client.create(model="m", messages=MESSAGES, response_model=None) is answer
    assert list(answer.choices) == ["a", "b", "c"]
    assert recording.span("create").attributes["llm_cache.attempts"] == 1
    assert recording.span("chat m").end_time


def test_causes_that_go_round_in_a_circle(recording: Recording) -> None:
    def create(**_: Any) -> Any:
        one = InstructorRetryException(
            "1", n_attempts=1, total_usage=0, messages=[], create_kwargs={}
        )
        two = InstructorRetryException(
            "2", n_attempts=1, total_usage=0, messages=[], create_kwargs={}
        )
        one.__cause__, two.__cause__ = two, one
        raise one

    client = instructor.Instructor(None, create=instructor.patch(create=create))
    instrument(client, **recording.providers)
    with pytest.raises(InstructorRetryException):
        client.create(model="m", messages=MESSAGES, response_model=None)
    assert recording.span("create").attributes["error.type"].endswith("InstructorRetryException")

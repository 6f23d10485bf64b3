"""Streams that are closed early, never started, dropped, or cancelled: told once, and truthfully."""

from __future__ import annotations

import abc
import asyncio
import collections.abc
import contextlib
import copy
import gc
import pickle
import weakref
from types import AsyncGeneratorType, GeneratorType, SimpleNamespace
from typing import Any

import instructor
import pytest
from instructor.cache import AutoCache
from support.models import MESSAGES, User
from support.recording import Recording
from support.versions import lazy_iterables
from support.ways import MODEL, make_client

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.later import later

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}
ATTEMPT = f"chat {MODEL}"


@pytest.fixture
def client(provider: SimulatedProvider, recording: Recording) -> Any:
    client = make_client(provider, cache=AutoCache())
    yield instrument(client, **recording.providers)
    uninstrument(client)
    client.client.close()


def told_once(recording: Recording, error: str | None = None) -> None:
    assert later.wait(5), "what is closed or dropped is told by a thread of ours"
    create, attempt = recording.span("create Iterable[User]"), recording.span(ATTEMPT)
    assert create.attributes["llm_cache.reason"] == "streaming"
    assert create.attributes.get("error.type") == error
    assert attempt.attributes.get("error.type") == error
    assert attempt.attributes["gen_ai.request.stream"] is True
    assert attempt.parent.span_id == create.context.span_id
    assert attempt.end_time <= create.end_time
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"bypass": 1}


@lazy_iterables
def test_the_spans_stay_open_until_the_last_chunk(client: Any, recording: Recording) -> None:
    stream = client.create_iterable(**REQUEST)
    assert next(stream)
    assert [span.name for span in recording.spans()] == []
    assert len(list(stream)) == 2
    told_once(recording)
    attempt = recording.span(ATTEMPT)
    assert attempt.attributes["gen_ai.response.finish_reasons"] == ("stop",)


@lazy_iterables
def test_closed_early(client: Any, recording: Recording) -> None:
    stream = client.create_iterable(**REQUEST)
    next(stream)
    stream.close()
    told_once(recording)


def test_never_started(client: Any, recording: Recording) -> None:
    stream = client.create_iterable(**REQUEST)
    del stream
    gc.collect()
    told_once(recording)


@lazy_iterables
def test_never_started_and_closed(client: Any, recording: Recording) -> None:
    stream = client.create_iterable(**REQUEST)
    stream.close()
    del stream
    gc.collect()
    told_once(recording)


def test_dropped_in_the_middle(client: Any, recording: Recording) -> None:
    for _ in client.create_iterable(**REQUEST):
        break
    gc.collect()
    told_once(recording)


@lazy_iterables
def test_an_error_thrown_in_by_the_host(client: Any, recording: Recording) -> None:
    stream = client.create_iterable(**REQUEST)
    next(stream)
    with pytest.raises(KeyError):
        stream.throw(KeyError("the host's"))
    gc.collect()
    assert later.wait(5)
    create = recording.span("create Iterable[User]")
    assert create.attributes["error.type"] == "KeyError"


def test_the_sdks_own_stream(client: Any, recording: Recording) -> None:
    with client.create(**{**REQUEST, "response_model": None}, stream=True) as stream:
        for _ in stream:
            pass
    del stream
    gc.collect()
    assert recording.span(ATTEMPT).attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert recording.span("create").attributes["llm_cache.reason"] == "no_response_model"


class EventStream:
    """As mistralai's: a generator kept in the instance, and chunks inside of events."""

    def __init__(self) -> None:
        self.generator = (SimpleNamespace(data=chunk) for chunk in CHUNKS)

    def __iter__(self) -> Any:
        return self.generator


CHUNKS = [
    SimpleNamespace(choices=[SimpleNamespace(finish_reason=None)], model="ministral-8b"),
    SimpleNamespace(
        choices=[SimpleNamespace(finish_reason="stop")],
        usage=SimpleNamespace(prompt_tokens=7, completion_tokens=3, total_tokens=10),
    ),
]


def test_mistrals_stream(recording: Recording) -> None:
    create = instructor.patch(create=lambda **_: EventStream(), mode=instructor.Mode.JSON)
    client = instrument(instructor.Instructor(None, create=create), **recording.providers)
    stream = client.create(**{**REQUEST, "response_model": None}, stream=True)
    assert [event.data for event in stream] == CHUNKS
    del stream
    gc.collect()
    told = recording.span(ATTEMPT).attributes
    assert told["gen_ai.response.model"] == "ministral-8b"
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["gen_ai.usage.input_tokens"] == 7
    assert told["gen_ai.usage.output_tokens"] == 3


@pytest.mark.parametrize("way", ["create_partial", "create_iterable"])
@pytest.mark.parametrize("fate", ["exhausted", "aclosed", "dropped", "never started", "cancelled"])
def test_async(way: str, fate: str, provider: SimulatedProvider, recording: Recording) -> None:
    async def run() -> None:
        client = make_client(provider, asynchronous=True, cache=AutoCache())
        instrument(client, **recording.providers)
        if fate == "cancelled":
            provider.cues.add(Cue(chunk_delay=0.1))
        stream = getattr(client, way)(**REQUEST)
        await _meet(fate, stream)
        del stream
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0.05)
        await client.client.close()

    asyncio.run(run())
    assert later.wait(5)
    creates = [span for span in recording.spans() if span.name.startswith("create")]
    if fate == "never started":
        assert creates == [], "an async generator that is not begun calls nobody"
        return
    (create,) = creates
    attempt = recording.span(ATTEMPT)
    error = "asyncio.exceptions.CancelledError" if fate == "cancelled" else None
    assert create.attributes.get("error.type") == error
    assert attempt.attributes.get("error.type") == error
    assert attempt.parent.span_id == create.context.span_id
    assert attempt.end_time <= create.end_time


async def _meet(fate: str, stream: Any) -> None:
    if fate == "exhausted":
        assert [item async for item in stream]
    elif fate == "aclosed":
        await anext(stream)
        await stream.aclose()
    elif fate == "dropped":
        await anext(stream)
    elif fate == "cancelled":

        async def consume() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_cancelled_before_the_answer(provider: SimulatedProvider, recording: Recording) -> None:
    async def run() -> None:
        client = make_client(provider, asynchronous=True, cache=AutoCache())
        instrument(client, **recording.providers)
        provider.cues.add(Cue(delay=30))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.create(**REQUEST), 0.2)
        await client.client.close()

    asyncio.run(run())
    create = recording.span("create User")
    assert create.attributes["llm_cache.outcome"] == "miss"
    assert create.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert recording.span(ATTEMPT).attributes["error.type"] == "asyncio.exceptions.CancelledError"


def test_a_coroutine_closed_in_another_context_leaves_no_trace_behind(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """What happens to tasks that are still pending when their loop is closed."""

    async def run() -> None:
        client = make_client(provider, asynchronous=True, cache=AutoCache())
        instrument(client, **recording.providers)
        provider.cues.add(Cue(delay=0.3))
        coroutine = client.create(**REQUEST)
        task = asyncio.get_running_loop().create_task(_first_step(coroutine))
        await task
        coroutine.close()
        await client.client.close()

    asyncio.run(run())
    assert later.wait(5)
    assert recording.span("create User").attributes["error.type"] == "GeneratorExit"
    assert "Failed to detach context" not in caplog.text


async def _first_step(coroutine: Any) -> None:
    coroutine.send(None)


def test_a_stream_dropped_by_a_collection_inside_the_sdk_does_not_lock_up(
    client: Any, recording: Recording
) -> None:
    """The collector may strike while this thread holds a lock of the SDK's: here, in a callback."""

    class Job:
        """Keeps its stream, and somebody points back to it: garbage only a collection finds."""

        def __init__(self) -> None:
            self.me = self
            self.stream = client.create_iterable(**REQUEST)
            next(self.stream)

    def collected_here(options: Any) -> list[Any]:
        Job()
        gc.collect()
        return []

    meter = recording.meter_provider.get_meter("host")
    meter.create_observable_gauge("host", [collected_here])
    recording.reader.get_metrics_data()
    assert later.wait(5)
    assert len(recording.spans("create Iterable[User]")) == 1
    create = recording.span("create Iterable[User]")
    assert create.attributes["llm_cache.outcome"] == "bypass"


def conversation() -> Any:
    """A generator that listens: what a create function of the user's own may return."""
    heard = yield "first"
    try:
        yield f"heard {heard}"
    except KeyError:
        yield "recovered"
    return "the end"  # noqa: B901  seen by whoever delegates to it


async def async_conversation() -> Any:
    heard = yield "first"
    try:
        yield f"heard {heard}"
    except KeyError:
        yield "recovered"


@pytest.mark.parametrize("observed", [False, True])
def test_what_is_sent_and_thrown_into_a_stream_arrives(
    observed: bool, recording: Recording
) -> None:
    request = {"model": "m", "messages": MESSAGES, "response_model": None}
    client = instructor.Instructor(None, create=instructor.patch(create=lambda **_: conversation()))

    async def create(**_: Any) -> Any:
        return async_conversation()

    other = instructor.AsyncInstructor(None, create=instructor.patch(create=create))
    if observed:
        instrument(client, **recording.providers)
        instrument(other, **recording.providers)
    talk = client.create(**request)
    assert [next(talk), talk.send("this"), talk.throw(KeyError())] == [
        "first",
        "heard this",
        "recovered",
    ]
    with pytest.raises(StopIteration) as ended:
        next(talk)
    assert ended.value.value == "the end"

    async def run() -> None:
        talk = await other.create(**request)
        assert await anext(talk) == "first"
        assert await talk.asend("this") == "heard this"
        assert await talk.athrow(KeyError()) == "recovered"
        with pytest.raises(StopAsyncIteration):
            await anext(talk)

    asyncio.run(run())
    assert len(recording.spans("create")) == (2 if observed else 0)


def test_a_stream_that_is_broken_off_keeps_nothing_longer(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = AutoCache()
    client = instrument(make_client(provider, cache=cache), **recording.providers)
    stream = client.create(**{**REQUEST, "response_model": None}, stream=True)
    next(iter(stream))
    client.client.close()
    held = [weakref.ref(each) for each in (cache, client.client)]
    del stream, client, cache
    gc.collect()
    assert [each() for each in held] == [None, None]


@pytest.mark.parametrize("kind", [GeneratorType, AsyncGeneratorType])
def test_a_stream_can_be_asked_no_more_than_a_generator(kind: Any, recording: Recording) -> None:
    bare: Any = conversation() if kind is GeneratorType else async_conversation()
    inner: Any = conversation() if kind is GeneratorType else async_conversation()
    client = instructor.Instructor(None, create=instructor.patch(create=lambda **_: inner))
    instrument(client, **recording.providers)
    stream = client.create(model="m", messages=MESSAGES, response_model=None)
    assert stream is not inner
    assert isinstance(stream, kind)
    interfaces = [
        interface
        for module in (collections.abc, contextlib)
        for interface in vars(module).values()
        if isinstance(interface, abc.ABCMeta)
    ]
    assert [each for each in interfaces if isinstance(stream, each)] == [
        each for each in interfaces if isinstance(bare, each)
    ]
    assert {name for name in dir(object()) + dir(1) + dir([]) if hasattr(stream, name)} == {
        name for name in dir(object()) + dir(1) + dir([]) if hasattr(bare, name)
    }
    for asked in (
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        len,
        iter if kind is not GeneratorType else int,
    ):
        errors = []
        for one in (stream, bare):
            with pytest.raises(TypeError) as error:
                asked(one)
            errors.append(type(error.value))
        assert errors[0] is errors[1]
    uninstrument(client)


async def _broken_off(client: Any, way: str) -> None:
    match way:
        case "aclosing":
            async with contextlib.aclosing(client.create_iterable(**REQUEST)) as users:
                async for _ in users:
                    break
        case "iterable":
            async for _ in client.create_iterable(**REQUEST):
                break
        case "partial":
            async for _ in client.create_partial(**REQUEST):
                break
        case "raw":
            async for _ in await client.create(
                **{**REQUEST, "response_model": None, "stream": True}
            ):
                break
        case _:
            stream = client.create_iterable(**REQUEST)
            await anext(stream)
            left_open.append(stream)


left_open: list[Any] = []


@lazy_iterables
@pytest.mark.parametrize("way", ["aclosing", "iterable", "partial", "raw", "left open"])
def test_the_event_loop_hears_nothing_of_a_stream_that_is_broken_off(
    way: str, provider: SimulatedProvider, recording: Recording
) -> None:
    provider.cues.default = Cue(chunk_delay=0.005)
    heard: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        client = make_client(provider, asynchronous=True)
        instrument(client, **recording.providers)
        for _ in range(4):
            await _broken_off(client, way)
            gc.collect()
            await asyncio.sleep(0.05)
        await client.client.close()

    asyncio.run(run())
    left_open.clear()
    gc.collect()
    assert later.wait(5)
    assert heard == []
    outcomes = recording.sums("llm_cache.requests", "llm_cache.outcome")
    assert outcomes == {"off": 4}

"""Streams of the providers' SDKs: what they are, when they begin and end, and how they may be given up."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any
from unittest.mock import patch

import anthropic
import instructor
import openai
import openai.lib.streaming.chat._completions as late
import pytest
from support.models import MESSAGES
from support.recording import Recording
from support.sdk_ways import KINDS, Kind, awaited, close, everything

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.later import later

SYNC_AND_ASYNC = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
QUESTION = ("Be brief.", "Who?")
MANAGED = {
    "openai": "chat.completions.stream",
    "openai responses": "responses.stream",
    "anthropic": "messages.stream",
    "anthropic beta": "beta.messages.stream",
}
STREAMED = {
    "openai": "chat.completions.create",
    "openai responses": "responses.create",
    "anthropic": "messages.create",
    "genai": "models.generate_content_stream",
    "genai, async": "aio.models.generate_content_stream",
}


def kind_of(name: str) -> Kind:
    return KINDS[name.removesuffix(" beta")]


def told(recording: Recording) -> int:
    assert later.wait(5)
    return len(recording.spans("create"))


def method_at(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


async def following(stream: Any) -> Any:
    return await anext(stream) if hasattr(stream, "__anext__") else next(stream)


async def entered(manager: Any) -> Any:
    is_async = hasattr(manager, "__aenter__")
    return await manager.__aenter__() if is_async else manager.__enter__()


async def left(manager: Any) -> None:
    if hasattr(manager, "__aexit__"):
        await manager.__aexit__(None, None, None)
    else:
        manager.__exit__(None, None, None)


@SYNC_AND_ASYNC
def test_what_becomes_of_the_messages_during_a_stream_was_not_asked(
    asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    """As a chat does that shortens its history."""
    kept = {"type": "text", "text": "a long text " * 3_000, "cache_control": {"type": "ephemeral"}}

    async def run() -> None:
        client = instrument(
            kind_of("anthropic").make(provider.url, asynchronous), **recording.providers
        )
        for hour in ("ten", "eleven"):
            content = [{"type": "text", "text": f"It is {hour}, {asynchronous}."}, kept]
            request = {**kind_of("anthropic").request(*QUESTION), "system": content, "stream": True}
            stream = await awaited(client.messages.create(**request))
            del content[0]
            await everything(stream)
        await close(client)

    asyncio.run(run())
    assert later.wait(10)
    attempts = [span for span in recording.spans() if span.name.startswith("chat")]
    reasons = [span.attributes.get("llm_cache.prompt.reason") for span in attempts]
    assert reasons[-1] == "prefix_changed"
    assert attempts[-1].attributes["llm_cache.divergence.part"] == "system"


@SYNC_AND_ASYNC
@pytest.mark.parametrize("name", MANAGED)
@pytest.mark.parametrize("read", ["all", "some", "nothing"])
def test_a_manager_sends_when_it_is_entered_and_ends_when_it_is_left(
    name: str, asynchronous: bool, read: str, provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        client = kind_of(name).make(provider.url, asynchronous)
        instrument(client, **recording.providers)
        before = provider.ledger.requests
        manager = method_at(client, MANAGED[name])(**kind_of(name).request(*QUESTION))
        assert provider.ledger.requests == before
        assert told(recording) == 0
        stream = await entered(manager)
        assert provider.ledger.requests == before + 1
        assert told(recording) == 0
        if read == "all":
            assert await everything(stream)
            assert told(recording) == 1, "its end is the call's"
        elif read == "some":
            await following(stream)
            assert told(recording) == 0
        await left(manager)
        assert told(recording) == 1, "though the stream is held on to"
        del stream, manager
        gc.collect()
        assert told(recording) == 1
        await close(client)

    asyncio.run(run())
    create = recording.span("create")
    (attempt,) = [span for span in recording.spans() if span is not create]
    assert create.attributes.get("error.type") is None
    assert attempt.attributes["gen_ai.request.stream"] is True
    assert attempt.parent.span_id == create.context.span_id
    assert ("gen_ai.usage.output_tokens" in attempt.attributes) == (
        read == "all" and name != "openai"  # which reports it where it is asked to
    )


# As without us: the request that Anthropic's async manager would have awaited.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@SYNC_AND_ASYNC
@pytest.mark.parametrize("name", MANAGED)
def test_a_manager_that_is_never_entered_is_no_call(
    name: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        client = kind_of(name).make(provider.url, asynchronous)
        instrument(client, **recording.providers)
        method_at(client, MANAGED[name])(**kind_of(name).request(*QUESTION))
        gc.collect()
        await close(client)

    asyncio.run(run())
    assert told(recording) == 0
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {}


@pytest.mark.parametrize(
    ("name", "asynchronous"),
    [
        *(
            (name, each)
            for name in ("openai", "openai responses", "anthropic")
            for each in (False, True)
        ),
        *(("genai", False), ("genai, async", True)),
    ],
)
@pytest.mark.parametrize("fate", ["closed", "dropped", "never begun", "broken", "in a with"])
def test_a_stream_is_told_once_whatever_becomes_of_it(
    name: str, asynchronous: bool, fate: str, provider: SimulatedProvider, recording: Recording
) -> None:
    is_genai = name.startswith("genai")
    error: list[str] = []

    async def run() -> None:
        client = KINDS[name].make(provider.url, asynchronous)
        instrument(client, **recording.providers)
        if fate == "broken":
            provider.cues.add(Cue(break_after=2))
        more = {} if is_genai else {"stream": True}
        asked = method_at(client, STREAMED[name])(**KINDS[name].request(*QUESTION), **more)
        stream = await awaited(asked)
        if not is_genai:
            sdk = anthropic if name == "anthropic" else openai
            assert type(stream) is (sdk.AsyncStream if asynchronous else sdk.Stream)
        if fate != "never begun":
            await following(stream)
        assert told(recording) == 0
        if fate == "broken":
            try:
                while True:
                    await following(stream)
            except (StopIteration, StopAsyncIteration):
                pass  # which some take it for
            except Exception as raised:
                error.append(type(raised).__name__)
        elif fate == "closed":
            await awaited((stream.aclose if hasattr(stream, "aclose") else stream.close)())
        elif fate == "in a with" and not is_genai:
            await entered(stream)
            await left(stream)
        if fate in ("closed", "broken") or (fate == "in a with" and not is_genai):
            assert told(recording) == 1, "though it is held on to"
        del stream, asked
        gc.collect()
        await asyncio.sleep(0.05)
        gc.collect()
        await close(client)

    asyncio.run(run())
    assert told(recording) == 1
    create = recording.span("create")
    assert create.attributes.get("error.type", "").rsplit(".", 1)[-1] == "".join(error)
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"off": 1}


@SYNC_AND_ASYNC
def test_a_helper_that_is_imported_after_the_client_is_seen_closing(
    asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        client = KINDS["openai"].make(provider.url, asynchronous)
        with patch.dict(sys.modules):
            del sys.modules[late.__name__]
            instrument(client, **recording.providers)
        manager = client.chat.completions.stream(**KINDS["openai"].request(*QUESTION))
        await entered(manager)
        await left(manager)
        assert told(recording) == 1
        uninstrument(client)
        await close(client)

    gc.collect()
    assert later.wait(5)
    before = late.ChatCompletionStream.close, late.AsyncChatCompletionStream.close
    asyncio.run(run())
    assert (late.ChatCompletionStream.close, late.AsyncChatCompletionStream.close) == before


@SYNC_AND_ASYNC
def test_a_stream_of_instructors_is_its_own(
    asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    """Both instrumented: the chunks are counted by one of them."""

    async def run() -> None:
        sdk = KINDS["openai"].make(provider.url, asynchronous)
        client = instructor.from_openai(sdk)
        for each in (sdk, client):
            instrument(each, **recording.providers)
        request = {"model": "gpt-4.1-mini", "messages": MESSAGES, "response_model": None}
        stream = await awaited(client.create(**request, stream=True))
        await following(stream)
        await awaited(stream.close())
        assert told(recording) == 1
        await close(sdk)

    asyncio.run(run())
    assert len(recording.spans("chat gpt-4.1-mini")) == 1


def test_a_stream_cancelled_in_the_middle(
    provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        client = KINDS["anthropic"].make(provider.url, True)
        instrument(client, **recording.providers)
        provider.cues.add(Cue(chunk_delay=0.2))

        async def consume() -> None:
            async with client.messages.stream(**KINDS["anthropic"].request(*QUESTION)) as stream:
                async for _ in stream:
                    started.set()

        started = asyncio.Event()
        task = asyncio.create_task(consume())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await close(client)

    asyncio.run(run())
    assert told(recording) == 1
    assert recording.span("create").attributes["error.type"].endswith("CancelledError")

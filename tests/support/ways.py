"""Every way to call an Instructor client, sync and async alike."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import instructor
import openai

from llm_cache_otel.cli.simulate import SimulatedProvider
from support.models import MESSAGES, User

MODEL = "gpt-4.1-mini"

WAYS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "create": lambda client: client.create,
    "chat.completions.create": lambda client: client.chat.completions.create,
    "messages.create": lambda client: client.messages.create,
    "create_with_completion": lambda client: client.create_with_completion,
    "responses.create": lambda client: client.responses.create,
    "responses.create_partial": lambda client: client.responses.create_partial,
    "responses.create_iterable": lambda client: client.responses.create_iterable,
    "create_partial": lambda client: client.create_partial,
    "create_iterable": lambda client: client.create_iterable,
}
STREAMED = tuple(way for way in WAYS if way.endswith(("partial", "iterable")))


def make_client(
    provider: SimulatedProvider,
    *,
    asynchronous: bool = False,
    mode: instructor.Mode = instructor.Mode.TOOLS,
    **kwargs: Any,
) -> Any:
    """A real Instructor client on a real openai client that calls the simulated provider."""
    sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = sdk(base_url=provider.openai_url, api_key="test-key", max_retries=0, timeout=60)
    return instructor.from_openai(client, mode=mode, **kwargs)


def mode_for(way: str) -> instructor.Mode:
    return instructor.Mode.RESPONSES_TOOLS if way.startswith("responses") else instructor.Mode.TOOLS


async def call(client: Any, way: str, **kwargs: Any) -> Any:
    """Call and take everything there is; a stream comes back as a list."""
    asked: dict[str, Any] = {"messages": MESSAGES}
    if way.startswith("responses"):  # the newest Instructors add such a format by themselves
        asked = {"input": MESSAGES, "text": {"format": {"type": "json_object"}}}
    request = {"model": MODEL, "response_model": User, **asked, **kwargs}
    result = WAYS[way](client)(**request)
    if inspect.isawaitable(result):
        result = await result
    if inspect.isasyncgen(result):
        return [item async for item in result]
    return list(result) if inspect.isgenerator(result) else result


@contextlib.asynccontextmanager
async def closing(client: Any) -> AsyncIterator[Any]:
    """Close the SDK client behind an Instructor client, whichever kind it is."""
    try:
        yield client
    finally:
        closed = client.client.close()
        if inspect.isawaitable(closed):
            await closed

"""One maker for every kind of client that Instructor has, all calling the simulated provider."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import anthropic
import instructor
import openai
from google import genai
from google.genai.types import HttpOptions
from instructor.cache import BaseCache

from llm_cache_otel.cli.simulate import SimulatedProvider
from support.models import MESSAGES, User

MakeClient = Callable[..., Any]
KEY = "test-key"


def _openai(url: str, key: str, asynchronous: bool) -> Any:
    sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return sdk(base_url=f"{url}/v1", api_key=key, max_retries=0)


def _azure(url: str, key: str, asynchronous: bool) -> Any:
    sdk = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
    return sdk(azure_endpoint=url, api_key=key, api_version="2025-01-01", max_retries=0)


def _anthropic(url: str, key: str, asynchronous: bool) -> Any:
    sdk = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return sdk(base_url=url, api_key=key, max_retries=0)


def _genai(url: str, key: str) -> Any:
    return genai.Client(api_key=key, http_options=HttpOptions(base_url=url))


def _from_provider(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    # Instructor 1.10 takes neither address nor key.
    with patch.dict(os.environ, OPENAI_BASE_URL=f"{url}/v1", OPENAI_API_KEY=key):
        return instructor.from_provider("openai/gpt-4.1-mini", async_client=asynchronous, **kwargs)


def _from_openai(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    return instructor.from_openai(_openai(url, key, asynchronous), **kwargs)


def _from_azure(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    return instructor.from_openai(_azure(url, key, asynchronous), **kwargs)


def _from_anthropic(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    return instructor.from_anthropic(_anthropic(url, key, asynchronous), **kwargs)


def _from_genai(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    return instructor.from_genai(_genai(url, key), use_async=asynchronous, **kwargs)


def _from_litellm(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    import litellm

    function = litellm.acompletion if asynchronous else litellm.completion
    return instructor.from_litellm(function, api_key=key, api_base=f"{url}/v1", **kwargs)


def _by_hand(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    client = _openai(url, key, asynchronous)
    create = instructor.patch(create=client.chat.completions.create)
    made = instructor.AsyncInstructor if asynchronous else instructor.Instructor
    return made(client=client, create=create, **kwargs)


def _patched(url: str, key: str, asynchronous: bool, **kwargs: Any) -> Any:
    return instructor.patch(_openai(url, key, asynchronous))


MAKERS: dict[str, MakeClient] = {
    "from_provider": _from_provider,
    "from_openai": _from_openai,
    "from_openai, azure": _from_azure,
    "from_anthropic": _from_anthropic,
    "from_genai": _from_genai,
    "from_litellm": _from_litellm,
    "Instructor(create=patch(create=))": _by_hand,
    "instructor.patch(client)": _patched,
}
PROVIDER_NAMES = {
    "from_provider": "openai",
    "from_openai": "openai",
    "from_openai, azure": "azure.ai.openai",
    "from_anthropic": "anthropic",
    "from_genai": "gcp.gemini",
    "from_litellm": "litellm",
    "Instructor(create=patch(create=))": "openai",
    "instructor.patch(client)": "openai",
}
_MODELS = {
    "from_genai": "gemini-2.5-flash",
    "from_anthropic": "claude-haiku-4-5",
    "from_litellm": "openai/gpt-4.1-mini",
}
_EXTRA: dict[str, dict[str, Any]] = {"from_anthropic": {"max_tokens": 100}}


def make(
    kind: str,
    provider: SimulatedProvider,
    *,
    asynchronous: bool = False,
    key: str = KEY,
    **kwargs: Any,
) -> Any:
    return MAKERS[kind](provider.url, key, asynchronous, **kwargs)


def request_for(kind: str, cache: BaseCache | None = None, **kwargs: Any) -> dict[str, Any]:
    """The arguments of one call; a patched client takes its cache only there."""
    request: dict[str, Any] = {
        "model": _MODELS.get(kind, "gpt-4.1-mini"),
        "messages": MESSAGES,
        "response_model": User,
        **_EXTRA.get(kind, {}),
        **kwargs,
    }
    if cache is not None:
        request["cache"] = cache
    return request


async def create(client: Any, **request: Any) -> Any:
    result = client.chat.completions.create(**request)
    return await result if inspect.isawaitable(result) else result


async def close(client: Any) -> None:
    """Close the HTTP connections behind a client of any kind."""
    sdk = getattr(client, "client", client) if isinstance(client, instructor.Instructor) else client
    if sdk is None:
        import litellm
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

        # Cancelled while it logs, as the loop's end would, its worker can go on for ever.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), 5)
        await litellm.close_litellm_async_clients()
        return
    closers = [getattr(sdk, "close", None), getattr(getattr(sdk, "aio", None), "aclose", None)]
    for closer in filter(None, closers):
        closed = closer()
        if inspect.isawaitable(closed):
            await closed


__all__ = ["MAKERS", "PROVIDER_NAMES", "close", "create", "make", "request_for"]

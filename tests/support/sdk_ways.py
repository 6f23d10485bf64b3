"""The providers' SDKs by themselves: how their clients are made, and every way to ask them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
from google import genai
from google.genai.types import HttpOptions
from pydantic import BaseModel

from support.sellers import SELLERS, Seller


class Answer(BaseModel):
    name: str
    age: int


def _openai(url: str, asynchronous: bool, **more: Any) -> Any:
    sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return sdk(base_url=f"{url}/v1", api_key="k", **{"max_retries": 0, **more})


def _azure(url: str, asynchronous: bool, **more: Any) -> Any:
    sdk = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
    more = {"max_retries": 0, **more}
    return sdk(azure_endpoint=url, api_key="k", api_version="2025-01-01", **more)


def _anthropic(url: str, asynchronous: bool, **more: Any) -> Any:
    sdk = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return sdk(base_url=url, api_key="k", **{"max_retries": 0, **more})


def _genai(url: str, asynchronous: bool, **more: Any) -> Any:
    return genai.Client(api_key="k", http_options=HttpOptions(base_url=url, **more))


async def awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def everything(stream: Any, *, asynchronous: bool | None = None) -> list[Any]:
    """All that a stream gives. Other instrumentations' stand-ins seem to be of both kinds."""
    if hasattr(stream, "__aiter__") if asynchronous is None else asynchronous:
        return [chunk async for chunk in stream]
    return list(stream)


def plain(path: str, **more: Any) -> Way:
    """A method that gives an answer."""

    async def ask(client: Any, request: dict[str, Any]) -> Any:
        return await awaited(_at(client, path)(**request, **more))

    return ask


def streamed(path: str, **more: Any) -> Way:
    """A method that gives a stream."""

    async def ask(client: Any, request: dict[str, Any]) -> Any:
        result = _at(client, path)(**request, **more)
        return await everything(await awaited(result), asynchronous=inspect.isawaitable(result))

    return ask


def managed(path: str, **more: Any) -> Way:
    """A method that gives a context, within which there is a stream."""

    async def ask(client: Any, request: dict[str, Any]) -> Any:
        manager = _at(client, path)(**request, **more)
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                return await everything(stream)
        with manager as stream:
            return list(stream)

    return ask


def raw(path: str) -> Way:
    async def ask(client: Any, request: dict[str, Any]) -> Any:
        response = await awaited(_at(client, path)(**request))
        return await awaited(response.parse())

    return ask


def _at(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


Way = Callable[[Any, dict[str, Any]], Any]
_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
_CHAT: dict[str, Way] = {
    "create": plain("chat.completions.create"),
    "parse": plain("chat.completions.parse", response_format=Answer),
    "streamed": streamed("chat.completions.create", stream=True, **_USAGE),
    "stream": managed("chat.completions.stream", **_USAGE),
    "raw": raw("chat.completions.with_raw_response.create"),
}


@dataclass(frozen=True)
class Kind:
    """A kind of client, and what it says of itself in telemetry."""

    make: Callable[..., Any]
    seller: Seller
    ways: dict[str, Way]
    provider: str
    errors: tuple[str, tuple[str, ...]]
    """What is raised of a status 500, and where no answer comes."""
    request: Callable[[str, str], dict[str, Any]]
    instructor: str | None = None
    """The function of Instructor's that takes such a client."""


def _messages(manual: str, question: str) -> dict[str, Any]:
    return {**SELLERS["anthropic"].request(manual, question), "model": SELLERS["anthropic"].model}


def _chat(manual: str, question: str) -> dict[str, Any]:
    return {**SELLERS["openai"].request(manual, question), "model": SELLERS["openai"].model}


def _responses(manual: str, question: str) -> dict[str, Any]:
    seller = SELLERS["openai responses"]
    return {**seller.request(manual, question), "model": seller.model}


def _contents(manual: str, question: str) -> dict[str, Any]:
    return {
        "model": SELLERS["genai"].model,
        "contents": question,
        "config": {"system_instruction": manual},
    }


_OF_OPENAI = ("openai.InternalServerError", ("openai.APITimeoutError",))
_OF_ANTHROPIC = ("anthropic.InternalServerError", ("anthropic.APITimeoutError",))
_OF_GENAI = (  # by the HTTP client that it uses
    "google.genai.errors.ServerError",
    ("httpx.ReadTimeout", "httpx2.ReadTimeout", "TimeoutError"),
)

KINDS = {
    "openai": Kind(_openai, SELLERS["openai"], _CHAT, "openai", _OF_OPENAI, _chat, "from_openai"),
    "openai responses": Kind(
        _openai,
        SELLERS["openai responses"],
        {
            "create": plain("responses.create"),
            "parse": plain("responses.parse", text_format=Answer),
            "streamed": streamed("responses.create", stream=True),
            "stream": managed("responses.stream"),
            "raw": raw("responses.with_raw_response.create"),
        },
        "openai",
        _OF_OPENAI,
        _responses,
    ),
    "azure": Kind(
        _azure, SELLERS["azure"], _CHAT, "azure.ai.openai", _OF_OPENAI, _chat, "from_openai"
    ),
    "anthropic": Kind(
        _anthropic,
        SELLERS["anthropic"],
        {
            "create": plain("messages.create"),
            "parse": plain("messages.parse", output_format=Answer),
            "streamed": streamed("messages.create", stream=True),
            "stream": managed("messages.stream"),
            "raw": raw("messages.with_raw_response.create"),
            "beta create": plain("beta.messages.create"),
            "beta stream": managed("beta.messages.stream"),
        },
        "anthropic",
        _OF_ANTHROPIC,
        _messages,
        "from_anthropic",
    ),
    "genai": Kind(
        _genai,
        SELLERS["genai"],
        {
            "create": plain("models.generate_content"),
            "stream": streamed("models.generate_content_stream"),
        },
        "gcp.gemini",
        _OF_GENAI,
        _contents,
        "from_genai",
    ),
    "genai, async": Kind(
        _genai,
        SELLERS["genai"],
        {
            "create": plain("aio.models.generate_content"),
            "stream": streamed("aio.models.generate_content_stream"),
        },
        "gcp.gemini",
        _OF_GENAI,
        _contents,
    ),
}
CLIENTS = [
    (name, asynchronous)
    for name in KINDS
    for asynchronous in ((False, True) if not name.startswith("genai") else (name != "genai",))
]
"""Every kind of client, by its name and whether it is asynchronous."""


async def close(client: Any) -> None:
    for closer in (
        getattr(client, "close", None),
        getattr(getattr(client, "aio", None), "aclose", None),
    ):
        if closer is not None:
            await awaited(closer())

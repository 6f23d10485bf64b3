"""Clients of every SDK whose calls are paid for, and what the simulated provider would charge for them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anthropic
import boto3
import botocore.config
import instructor
import openai
from google import genai
from google.genai.types import HttpOptions

from support.models import User
from support.versions import GENAI_JSON, HAS_MODES_FOR_ALL, KEYS_CAN_FAIL

MANUAL = "Clause: the parties agree that whoever reads this has read it. " * 120
"""Some 1,900 tokens: more than any prompt cache here asks for but Anthropic's of the small models."""

MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Seller:
    """`rates` are USD per million tokens, from the provider's own page of prices."""

    make: Callable[[str, bool], Any]
    model: str
    rates: Mapping[str, str]
    request: Callable[[str, str], dict[str, Any]]
    streams: bool = True
    is_cached: bool = True
    """Whether Instructor can build a key for its requests."""
    ways: Mapping[str, Callable[[Any], Callable[..., Any]]] = field(
        default_factory=lambda: {
            "create": lambda client: client.create,
            "create_partial": lambda client: client.create_partial,
            "create_iterable": lambda client: client.create_iterable,
        }
    )

    def cost(self, tokens: Mapping[str, int]) -> Decimal:
        return (
            sum((Decimal(self.rates[kind]) * tokens[kind] for kind in tokens), Decimal(0)) / MILLION
        )

    def uncached(self, tokens: Mapping[str, int]) -> Decimal:
        """What it would have cost without a prompt cache."""
        plain = sum(tokens[kind] for kind in tokens if kind != "output")
        return self.cost(Counter(plain=plain, output=tokens["output"]))


def _openai(url: str, asynchronous: bool) -> Any:
    sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return instructor.from_openai(sdk(base_url=f"{url}/v1", api_key="k", max_retries=0))


def _responses(url: str, asynchronous: bool) -> Any:
    sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = sdk(base_url=f"{url}/v1", api_key="k", max_retries=0)
    return instructor.from_openai(client, mode=instructor.Mode.RESPONSES_TOOLS)


def _azure(url: str, asynchronous: bool) -> Any:
    sdk = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
    client = sdk(azure_endpoint=url, api_key="k", api_version="2025-01-01", max_retries=0)
    return instructor.from_openai(client)


class _Anthropic(anthropic.Anthropic):
    """Without what keeps Instructor from building a key for a client of Anthropic's."""

    organization = None  # type: ignore[assignment]


class _AsyncAnthropic(anthropic.AsyncAnthropic):
    organization = None  # type: ignore[assignment]


def _anthropic(url: str, asynchronous: bool) -> Any:
    sdk = _AsyncAnthropic if asynchronous else _Anthropic
    return instructor.from_anthropic(sdk(base_url=url, api_key="k", max_retries=0))


def _genai(url: str, asynchronous: bool, **kwargs: Any) -> Any:
    client = genai.Client(api_key="k", http_options=HttpOptions(base_url=url))
    return instructor.from_genai(client, use_async=asynchronous, **kwargs)


def _genai_structured(url: str, asynchronous: bool) -> Any:
    """Whose answers are text, and come in pieces."""
    return _genai(url, asynchronous, mode=GENAI_JSON)


def _bedrock(url: str, asynchronous: bool) -> Any:
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="k",
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )
    return instructor.from_bedrock(client, async_client=asynchronous)


def _chat(manual: str, question: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": manual},
            {"role": "user", "content": question},
        ],
    }


def _chat_with_usage(manual: str, question: str) -> dict[str, Any]:
    return {**_chat(manual, question), "stream_options": {"include_usage": True}}


def _marked(manual: str, question: str) -> dict[str, Any]:
    """Kept for an hour, and the question behind it for five minutes."""
    hour = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": manual, "cache_control": hour}]
    content = [{"type": "text", "text": question, "cache_control": {"type": "ephemeral"}}]
    return {
        "system": system,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 100,
    }


def _pointed(manual: str, question: str) -> dict[str, Any]:
    point = {"cachePoint": {"type": "default"}}
    content = [{"text": manual}, point, {"text": question}]
    return {"messages": [{"role": "user", "content": content}]}


_GPT = {"plain": "0.40", "read": "0.10", "output": "1.60", "write_5m": "0", "write_1h": "0"}
_FLASH = {"plain": "0.30", "read": "0.03", "write_5m": "0", "write_1h": "0", "output": "2.50"}
SELLERS: dict[str, Seller] = {
    "openai": Seller(_openai, "gpt-4.1-mini", _GPT, _chat),
    "openai, dear writes": Seller(
        _openai,
        "gpt-5.6",
        {"plain": "4", "read": "0.40", "write_5m": "5", "write_1h": "0", "output": "20"},
        _chat,
    ),
    "openai responses": Seller(
        _responses,
        "gpt-4.1-mini",
        _GPT,
        lambda manual, question: {"input": _chat(manual, question)["messages"]},
        ways={
            "create": lambda client: client.responses.create,
            "create_partial": lambda client: client.responses.create_partial,
            "create_iterable": lambda client: client.responses.create_iterable,
        },
    ),
    "azure": Seller(_azure, "gpt-4.1-mini", _GPT, _chat),
    "anthropic": Seller(
        _anthropic,
        "claude-sonnet-5-5",
        {"plain": "2", "read": "0.10", "write_5m": "2.50", "write_1h": "4", "output": "10"},
        _marked,
    ),
    "genai": Seller(_genai, "gemini-2.5-flash", _FLASH, _chat),
    "genai, structured": Seller(
        _genai_structured, "gemini-2.5-flash", _FLASH, _chat, is_cached=not KEYS_CAN_FAIL
    ),
    "bedrock": Seller(
        _bedrock,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        {
            "plain": "3.30",
            "read": "0.33",
            "write_5m": "4.125",
            "write_1h": "6.60",
            "output": "16.50",
        },
        _pointed,
        streams=False,
    ),
}

if not HAS_MODES_FOR_ALL:
    del SELLERS["bedrock"]  # of which Instructor asks for no tools then, and so says no schema


async def ask(
    client: Any, seller: Seller, way: str, manual: str, question: str, **more: Any
) -> Any:
    """Ask, and take all of the answer."""
    request = {"model": seller.model, "response_model": User, **seller.request(manual, question)}
    if way != "create" and seller.make in (_openai, _azure):
        request["stream_options"] = {"include_usage": True}
    result = seller.ways[way](client)(**request, **more)
    if inspect.isawaitable(result):
        result = await result
    if inspect.isasyncgen(result):
        return [item async for item in result]
    return list(result) if inspect.isgenerator(result) else result


@asynccontextmanager
async def selling(seller: Seller, url: str, asynchronous: bool) -> AsyncIterator[Any]:
    client = seller.make(url, asynchronous)
    try:
        yield client
    finally:
        sdk = client.client
        for closer in (
            getattr(sdk, "close", None),
            getattr(getattr(sdk, "aio", None), "aclose", None),
        ):
            closed = None if closer is None else closer()
            if inspect.isawaitable(closed):
                await closed

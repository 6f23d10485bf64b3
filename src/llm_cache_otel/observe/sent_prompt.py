"""Reads the prompt that an SDK was called with, in the order in which the provider caches it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import BaseModel

from llm_cache_otel.facts import InferenceRequest, Section, SentPrompt
from llm_cache_otel.observe.remembered import Remembered
from llm_cache_otel.observe.sdk import declared
from llm_cache_otel.observe.sections import (
    MESSAGES,
    SYSTEM,
    UNREADABLE,
    json_of,
    retention_of,
    seconds_of,
    sections_of,
    without_marker,
)
from llm_cache_otel.observe.snapshot import SCALARS, Unread, length_of, plain_messages

_salt = secrets.randbits(64)

_TOOLS = ("tools", "functions")
_IN_MEMORY = 600.0
"""Seconds: "5 to 10 minutes of inactivity"."""

_ACCOUNT = ("api_key", "auth_token", "organization", "project")
_OF_GOOGLE, _OF_BOTOCORE = "_api_client", "meta"
_ASKED_ACCOUNT = frozenset({"prompt_cache_key", "api_key", "api_base", "cached_content"})
_ACCOUNT_HEADERS = frozenset(
    {"authorization", "x-api-key", "api-key", "openai-organization", "openai-project"}
)

_SCHEMA = ("response_format", "text", "response_schema", "response_json_schema", "output_config")
_SCHEMA_NAMES = frozenset(_SCHEMA)
_WITH_TOOLS = frozenset({*_TOOLS, "toolConfig"})
_RETENTIONS = frozenset({"prompt_cache_retention", "prompt_cache_options"})

_ELSEWHERE = frozenset({"extra_body", "config", "cache_control", *SYSTEM, *MESSAGES}) - {"messages"}
"""What has more of a prompt, or says more of one."""


def prompt_space(request: InferenceRequest, client: Any, asked: Mapping[str, Any]) -> int:
    """What prompts have in common that are served from one prompt cache.

    It is a salted digest, comparable in this process and those forked from it: accounts' keys are in it.
    """
    more = asked.get("extra_body")
    if more is not None and isinstance(more, Mapping):
        asked = {**more, **asked}
    accounts = _accounts(client, asked)
    if not SCALARS.issuperset(map(type, accounts)):  # others may not be hashable
        accounts = [_constant(value) for value in accounts]
    server = request.server_address, request.server_port
    return hash((_salt, request.provider, server, request.model, *accounts))


def _accounts(client: Any, asked: Mapping[str, Any]) -> list[Any]:
    held = getattr(client, "__dict__", {})
    of_class = _names_of(client.__class__)
    accounts: list[Any] = list(map(partial(declared, client) if of_class else held.get, _ACCOUNT))
    if _OF_GOOGLE in held or _OF_GOOGLE in of_class:
        accounts.append(declared(declared(client, _OF_GOOGLE), "api_key"))
    if not _ASKED_ACCOUNT.isdisjoint(asked):
        accounts += [asked.get(name) for name in sorted(_ASKED_ACCOUNT)]
    headers = asked.get("extra_headers")
    if headers is not None and isinstance(headers, Mapping):
        for name, value in headers.items():
            if isinstance(name, str) and name.lower() in _ACCOUNT_HEADERS:
                accounts.append(value)
    if _OF_BOTOCORE in held or _OF_BOTOCORE in of_class:
        is_botocores = declared(client, _OF_BOTOCORE) is not None
        accounts.append(id(client) if is_botocores else None)  # which is of one account
    return accounts


def _constant(value: Any) -> str | int | None:
    if type(value) is str or type(value) is int:
        return value
    return f"{value}" if isinstance(value, (str, int)) else None


_names_of = Remembered(
    lambda kind: [name for name in (*_ACCOUNT, _OF_GOOGLE, _OF_BOTOCORE) if hasattr(kind, name)]
)
"""What a class of clients has, and not only each of them."""


def sent_prompt(
    space: int, request: Mapping[str, Any], most: int | None = None
) -> SentPrompt | Unread[SentPrompt | None] | None:
    """From the keyword arguments of the SDK's function; `None` for what can't be read.

    So it is for what has more than so many characters, if `most` is given.

    Tools come first, then a schema, the system prompt, the messages:
    https://platform.claude.com/docs/en/build-with-claude/prompt-caching and
    https://developers.openai.com/api/docs/guides/prompt-caching
    """
    if _ELSEWHERE.isdisjoint(request):
        messages = plain_messages(request.get("messages"))
        if messages is not None:
            if most is not None and length_of(messages) > most:
                return None
            try:
                before, retention = _before(request), _retention(request)
            except UNREADABLE:
                return None
            return Unread(partial(_read, space, before, {"messages": messages}, retention))
    if isinstance(request.get("extra_body"), Mapping):
        request = {**request["extra_body"], **request}
    config = request.get("config")  # where google-genai has what others have beside the messages
    if isinstance(config, BaseModel):
        config = {name: getattr(config, name) for name in type(config).model_fields}
    if isinstance(config, Mapping):
        request = {**config, **request}
    try:
        prompt = _read(space, _before(request), request, _retention(request))
    except UNREADABLE:
        return None
    return prompt if most is None or prompt is None or prompt.length <= most else None


def _read(
    space: int, before: list[Section], request: Mapping[str, Any], retention: float | None
) -> SentPrompt | None:
    """Raises one of `UNREADABLE` for what can't be."""
    sections = [*before, *sections_of(request)]
    if not sections:
        return None
    if request.get("cache_control") is not None:  # Anthropic marks the last by itself
        marked = retention_of(request["cache_control"])
        sections[-1] = replace(sections[-1], retention=marked)
    return SentPrompt(space, tuple(sections), retention)


def _before(request: Mapping[str, Any]) -> list[Section]:
    """What comes before the prompt itself."""
    tools = [] if _WITH_TOOLS.isdisjoint(request) else [*_tools(request)]
    return tools if _SCHEMA_NAMES.isdisjoint(request) else [*tools, *_schema(request)]


def _tools(request: Mapping[str, Any]) -> Iterator[Section]:
    groups = [request.get(name) for name in _TOOLS]
    of_bedrock = request.get("toolConfig")
    if isinstance(of_bedrock, Mapping):
        groups.append(of_bedrock.get("tools"))
    start = 0
    for group in groups:
        for tool in group if isinstance(group, (list, tuple)) else ():
            rest, retention = without_marker(tool)
            text = json_of(rest, sort_keys=False)
            yield Section("tools", text, start=start, retention=retention)
            start += len(text)


def _schema(request: Mapping[str, Any]) -> Iterator[Section]:
    for name in _SCHEMA:
        if request.get(name) is not None:
            yield Section("schema", json_of(request[name], sort_keys=False))


def _retention(request: Mapping[str, Any]) -> float | None:
    """OpenAI's `prompt_cache_retention` (`in_memory`, `24h`) and `prompt_cache_options`."""
    if _RETENTIONS.isdisjoint(request):
        return None
    asked = request.get("prompt_cache_retention")
    if asked in ("in_memory", "in-memory"):
        return _IN_MEMORY
    options = request.get("prompt_cache_options")
    return seconds_of(asked) or (None if options is None else retention_of(options))

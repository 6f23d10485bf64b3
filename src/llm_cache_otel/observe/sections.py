"""Takes prompts apart: texts, and as JSON whatever else there is. Changes nothing, and uses nothing up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

from pydantic import BaseModel

from llm_cache_otel.facts import Section

SYSTEM = ("system", "instructions", "preamble", "system_instruction")
_SYSTEM = frozenset(SYSTEM)
MESSAGES = ("messages", "contents", "input", "chat_history", "message", "prompt")
"""The parameters that hold prompts, of all SDKs."""

_TEXTS = ("content", "parts", "text")
_MARKERS = frozenset({"cache_control", "cachePoint"})
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_BY_ITSELF = 0.0
"""For as long as the provider does where it is not asked for longer."""

_MOST_MESSAGES = 512
"""What comes after these is taken as one."""


def json_of(value: Any, *, sort_keys: bool = True) -> str:
    """As Instructor writes values into keys.

    Raises:
        TypeError, ValueError, AttributeError or RecursionError: JSON can't hold it.
    """
    if value is None:
        return "null"
    if type(value) in _EMPTY and not value:
        return _EMPTY[type(value)]
    return (_SORTED if sort_keys else _AS_IT_IS).encode(value)


_EMPTY: dict[type, str] = {dict: "{}", list: "[]", tuple: "[]"}
"""What most that is not there is."""

UNREADABLE = (TypeError, ValueError, AttributeError, RecursionError)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")


# What most messages have beside their text.
_ROLES = {role: json.dumps({"role": role}) for role in ("system", "user", "assistant")}

# `json.dumps` would make one each time.
_SORTED = json.JSONEncoder(sort_keys=True, default=_plain)
_AS_IT_IS = json.JSONEncoder(default=_plain)


def sections_of(request: Mapping[str, Any]) -> list[Section]:
    """Of the system prompt and the messages in a request, in this order."""
    sections: list[Section] = []
    for name in SYSTEM if not _SYSTEM.isdisjoint(request) else ():
        if request.get(name) is not None:
            sections += _content(request[name], "system", None, "")
    for name in MESSAGES:
        messages = request.get(name)
        if messages is not None:
            sections += _messages(messages)
    return sections


def _messages(messages: Any) -> list[Section]:
    sections: list[Section] = []
    if not isinstance(messages, (list, tuple)):
        messages = [messages]
    for number, message in enumerate(messages[:_MOST_MESSAGES]):
        if type(message) is dict and len(message) == 2:  # as most are, and the quickest read
            text, role = message.get("content"), message.get("role")
            if type(text) is str and type(role) is str and role in _ROLES:
                sections.append(Section("messages", text, _ROLES[role], number))
                continue
        sections += _message(message, number)
    if len(messages) > _MOST_MESSAGES:
        more = json_of(messages[_MOST_MESSAGES:])
        sections.append(Section("messages", "", more, _MOST_MESSAGES))
    return sections


def _message(message: Any, number: int) -> Iterator[Section]:
    if isinstance(message, BaseModel):
        message = _plain(message)
    if not isinstance(message, Mapping):
        yield from _content(message, "messages", number, "")
        return
    holder = next((name for name in _TEXTS if message.get(name) is not None), None)
    rest = {name: value for name, value in message.items() if name != holder}
    content = None if holder is None else message[holder]
    yield from _content(content, "messages", number, json_of(rest))


def _content(content: Any, part: str, number: int | None, rest: str) -> Iterator[Section]:
    """`rest` is what the message has besides, and goes with the first of its parts."""
    if isinstance(content, BaseModel):
        content = _plain(content)
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        content = content["parts"]
    start = 0
    for item in content if isinstance(content, (list, tuple)) else (content,):
        text, more, retention = _split(item)
        yield Section(part, text, rest + more, number, start, retention)
        start += len(text)
        rest = ""


def _split(item: Any) -> tuple[str, str, float | None]:
    """The text of a part of a message, what else it has, and how long all up to it is to be kept."""
    if isinstance(item, BaseModel):
        item = _plain(item)
    if item is None:
        return "", "", None
    if isinstance(item, str):
        return str.__str__(item), "", None  # which a class of the host's own may say otherwise
    if not isinstance(item, Mapping):
        return "", json_of(item), None
    unmarked, retention = without_marker(item)
    rest = dict(unmarked)
    holder = next((name for name in ("text", "content") if isinstance(rest.get(name), str)), None)
    text = "" if holder is None else str.__str__(rest.pop(holder))
    return text, json_of(rest) if rest else "", retention


def without_marker(item: Any) -> tuple[Any, float | None]:
    """Without what asks Anthropic, or Bedrock, to keep all up to here, and for how long that does."""
    if not isinstance(item, Mapping) or _MARKERS.isdisjoint(item):
        return item, None
    marker = next(
        (item[name] for name in item if name in _MARKERS and item[name] is not None), None
    )
    return {name: item[name] for name in item if name not in _MARKERS}, retention_of(marker)


def retention_of(marker: Any) -> float | None:
    """Seconds: of Anthropic's `cache_control`, Bedrock's `cachePoint`, OpenAI's `prompt_cache_options`."""
    if not isinstance(marker, Mapping):
        return None
    return seconds_of(marker.get("ttl")) or _BY_ITSELF


def seconds_of(ttl: Any) -> float | None:
    """Of `30m`, `1h` or `300s`."""
    if not isinstance(ttl, str) or not ttl[:-1].isdigit() or ttl[-1] not in _SECONDS:
        return None
    return int(ttl[:-1]) * _SECONDS[ttl[-1]]

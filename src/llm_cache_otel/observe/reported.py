"""Copies what a provider reports of its tokens, at once: Instructor overwrites it with running totals.

What is copied is plain, and has numbers and a few short words only: a mapping of the provider's own names,
for `llm_cache_otel.interpret.usage` to make sense of.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from llm_cache_otel.facts import Reported

_DEEPEST = 3
_MOST = 32
_LONGEST_WORD = 24

_HOLDERS = ("usage", "usage_metadata", "usageMetadata")
_AROUND = ("message", "response", "x_groq")
"""What has it in one of its own: Anthropic's `message_start`, OpenAI Responses' events, Groq's last chunk."""


def reported_usage(response: Any) -> Reported | None:
    """What a response, or one chunk of a stream, reports; `None` if it reports nothing."""
    for part in (response, *(read(response, name) for name in _AROUND)):
        for name in _HOLDERS:
            usage = _copied(read(part, name), _DEEPEST)
            if isinstance(usage, dict) and usage:
                return usage
    return None


def latest(earlier: Reported | None, later: Reported | None) -> Reported | None:
    """What a stream has reported so far, after one more chunk: every provider's counts are cumulative."""
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return {**earlier, **later}


def read(holder: Any, name: str) -> Any:
    """An item of a mapping or an attribute of anything else; `None` if there is none."""
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _copied(value: Any, depth: int) -> Any:
    """`None` for what is neither a number, nor a word, nor made of those."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_WORD else None
    if depth == 0:
        return None
    if isinstance(value, (list, tuple)):
        return [_copied(item, depth - 1) for item in value[:_MOST]]
    items = [*_items(value)][:_MOST]
    copied = {name: _copied(item, depth - 1) for name, item in items if isinstance(name, str)}
    return {name: item for name, item in copied.items() if item is not None}


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    fields = getattr(value, "ListFields", None)  # of a protobuf message, as xAI's SDK has
    if callable(fields):
        return [(field.name, item) for field, item in fields()]
    # What an SDK does not know of, newer than itself, pydantic keeps apart.
    extra = getattr(value, "__pydantic_extra__", None)
    return [*getattr(value, "__dict__", {}).items(), *(extra or {}).items()]

"""Copies what a provider reports of its tokens, at once: Instructor overwrites it with running totals.

What is copied is plain, and has numbers and a few short words only: a mapping of the provider's own names,
for `llm_cache_otel.interpret.usage` to make sense of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain
from typing import Any

from pydantic import BaseModel

from llm_cache_otel.facts import Reported

_DEEPEST = 3
_MOST = 256
_LONGEST_WORD = 24

_HOLDERS = ("usage", "usage_metadata", "usageMetadata")
_AROUND = ("message", "response", "x_groq")
"""What has it in one of its own: Anthropic's `message_start`, OpenAI Responses' events, Groq's last chunk."""


def reported_usage(response: Any) -> Reported | None:
    """What a response, or one chunk of a stream, reports; `None` if it reports nothing."""
    for part in chain((response,), (read(response, name) for name in _AROUND)):
        for name in _HOLDERS:
            usage = _Copy().of(read(part, name), _DEEPEST)
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
    kind: Any = type(holder)
    if holder is None:
        return None
    if kind is dict or isinstance(holder, Mapping):
        return holder.get(name)
    if getattr(kind, "__getattr__", None) is not _GETATTR or kind.__getattribute__ is not _PLAINLY:
        return getattr(holder, name, None)
    try:  # Pydantic takes its time to say that there is none, and of most names there is none.
        return _PLAINLY(holder, name)
    except AttributeError:
        extra = getattr(holder, _EXTRA, None)
        return extra.get(name) if extra else None


_GETATTR, _PLAINLY = getattr(BaseModel, "__getattr__", None), object.__getattribute__
_EXTRA = "__pydantic_extra__"


class _Copy:
    """Copies of at most so many values in all, whatever they are in."""

    def __init__(self) -> None:
        self._left = _MOST

    def of(self, value: Any, depth: int) -> Any:
        """`None` for what is neither a number, nor a word, nor made of those."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str):
            return value[:_LONGEST_WORD]
        if depth == 0:
            return None
        if isinstance(value, (list, tuple)):
            return [self.of(item, depth - 1) for item in self._some(value)]
        items = self._some(_items(value))
        copied = {name: self.of(item, depth - 1) for name, item in items if isinstance(name, str)}
        return {name: item for name, item in copied.items() if item is not None}

    def _some(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if self._left == 0:
                return
            self._left -= 1
            yield value


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if hasattr(type(value), "DESCRIPTOR"):  # a protobuf message, as xAI's SDK has
        return ((field.name, item) for field, item in value.ListFields())
    # What an SDK does not know of, newer than itself, pydantic keeps apart.
    extra = getattr(value, _EXTRA, None)
    return chain(getattr(value, "__dict__", {}).items(), (extra or {}).items())

"""Copies what a provider reports of its tokens, at once: Instructor overwrites it with running totals.

What is copied is plain, and has numbers and a few short words only: a mapping of the provider's own names,
for `llm_cache_otel.interpret.usage` to make sense of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Protocol

from pydantic import BaseModel

from llm_cache_otel.facts import Reported
from llm_cache_otel.observe.remembered import Remembered

_DEEPEST = 3
_MOST = 256
_LONGEST_WORD = 24

HOLDERS = ("usage", "usage_metadata", "usageMetadata")
_AROUND = ("message", "response", "x_groq")
"""What has it in one of its own: Anthropic's `message_start`, OpenAI Responses' events, Groq's last chunk."""

NAMES = (
    *(*HOLDERS, *_AROUND, "ResponseMetadata", "delta", "data", "diagnostics"),
    *("model", "model_version", "id", "response_id", "RequestId"),
    *("choices", "candidates", "finish_reason", "stop_reason", "stopReason"),
    *("created", "created_at", "create_time", "automatic_function_calling_history"),
    *("service_tier", "serviceTier", "performanceConfig", "latency", "cache_miss_reason", "type"),
)
"""All that is read of an answer."""


def reported_usage(response: Any) -> Reported | None:
    """What a response, or one chunk of a stream, reports; `None` if it reports nothing."""
    fields = fields_of(response)
    usage = _usage_in(fields)
    for name in _AROUND:
        if usage is not None:
            break
        part = fields.get(name)
        usage = None if part is None else _usage_in(fields_of(part))
    return usage


def _usage_in(part: Fields) -> Reported | None:
    for name in HOLDERS:
        value = part.get(name)
        if value is not None:
            usage = _Copy().of(value, _DEEPEST)
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
    if kind is dict:
        return holder.get(name)
    if holder is None:
        return None
    if isinstance(holder, Mapping):
        return holder.get(name)
    if not _answers_plainly(kind):
        return getattr(holder, name, None)
    try:  # Pydantic takes its time to say that there is none, and of most names there is none.
        return _PLAINLY(holder, name)
    except AttributeError:
        extra = getattr(holder, _EXTRA, None)
        return extra.get(name) if extra else None


class Fields(Protocol):
    """What an answer says of itself, or a part of it."""

    def get(self, name: str, /) -> Any: ...


def fields_of(holder: Any) -> Fields:
    """What there is to read by `NAMES`."""
    kind = type(holder)
    if kind is dict or kind is _Asked:
        fields: Fields = holder
        return fields
    known = _fields_are_all.known.get(id(kind))
    are_all = _fields_are_all(kind) if known is None or known[0]() is not kind else known[1]
    if not are_all:
        return _Asked(holder)
    extra = getattr(holder, _EXTRA, None)
    return {**extra, **holder.__dict__} if extra else holder.__dict__


def _answers_plainly(kind: Any) -> bool:
    return getattr(kind, "__getattr__", None) is _GETATTR and kind.__getattribute__ is _PLAINLY


_GETATTR, _PLAINLY = getattr(BaseModel, "__getattr__", None), object.__getattribute__
_EXTRA = "__pydantic_extra__"


class _Asked:
    """What has more to say of itself than it holds."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder

    def get(self, name: str) -> Any:
        return read(self._holder, name)


_fields_are_all = Remembered(
    lambda kind: (
        _answers_plainly(kind)
        and not issubclass(kind, Mapping)
        and not any(hasattr(kind, name) for name in NAMES)
    )
)


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
        copied = {}
        for name, item in self._some(_items(value)):
            kept = item if item is None or type(item) is int else self.of(item, depth - 1)
            if kept is not None and isinstance(name, str):
                copied[name] = kept
        return copied

    def _some(self, values: Iterable[Any]) -> list[Any]:
        some = list(islice(values, self._left))
        self._left -= len(some)
        return some


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(fields := fields_of(value), dict):
        return fields.items()
    if isinstance(value, Mapping):
        return value.items()
    if hasattr(type(value), "DESCRIPTOR"):  # a protobuf message, as xAI's SDK has
        return ((field.name, item) for field, item in value.ListFields())
    # What an SDK does not know of, newer than itself, pydantic keeps apart.
    extra = getattr(value, _EXTRA, None) or {}
    return {**extra, **getattr(value, "__dict__", {})}.items()

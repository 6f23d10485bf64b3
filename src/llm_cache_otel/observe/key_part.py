"""Finds what keeps Instructor from building a cache key. Names parts; never reads out a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def unserializable_part(arguments: Mapping[str, Any]) -> str | None:
    """The first part of the key function's `arguments` that JSON can't hold.

    For example `client.organization`, `request.timeout` or `context`; `None` where each part can be
    written by itself. Mirrors how Instructor 1.17 writes a key: pydantic models are dumped, and
    anything else unknown, NaN and infinities are refused.
    """
    return next((name for name, value in _parts(arguments) if not _is_json(value)), None)


def _parts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from _client_settings(arguments.get("client_identity"), set())
    request = arguments.get("request")
    if isinstance(request, Mapping):
        for name, value in request.items():
            yield f"request.{name}", value
    yield "args", arguments.get("args")
    yield "context", arguments.get("context")
    yield "strict", arguments.get("strict")


def _client_settings(identity: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Leaves of Instructor's identity snapshot, by the setting's own name."""
    if not isinstance(identity, Mapping) or id(identity) in seen:
        return
    seen.add(id(identity))
    for name, value in identity.items():
        if isinstance(value, dict) and not _is_json(value):
            yield from _client_settings(value, seen)
        else:
            yield f"client.{name.lstrip('_')}", value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, default=_as_instructor, allow_nan=False)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return False
    return True


def _as_instructor(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    raise TypeError

"""Makes attribute values what OTLP can hold: one that it can't costs the batch, or itself and a traceback."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

LONGEST = 1_024
"""Characters: a model's name, say, is whatever a provider answers."""

_MOST = 2**63


def sendable(text: str) -> str:
    """`text` with what UTF-8 can't hold replaced, and cut after 1,024 characters."""
    text = text[:LONGEST]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def sendable_value(value: AttributeValue) -> AttributeValue | None:
    """`None` for a whole number beyond 64 bits."""
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, int):
        return value if -_MOST <= value < _MOST else None
    return tuple(sendable(str(each)) for each in value) if isinstance(value, tuple) else value

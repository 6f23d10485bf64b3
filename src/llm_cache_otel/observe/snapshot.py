"""Requests as they are now, to be read when nobody waits: a program may change its own as it goes on.

Only what most are is put off: messages of a role and a text, which are copied, and their texts shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

SCALARS = frozenset({str, int, float, bool, type(None)})
"""What nobody can change. Not what is derived from these."""

_TEXT = {str}
_MOST_MESSAGES = 512


class Unread(Generic[T]):
    """What can be `read` any time; `length` is how many characters are held for it, where that is asked."""

    __slots__ = ("length", "read")

    def __init__(self, read: Callable[[], T], length: int = 0) -> None:
        self.read = read
        self.length = length


def plain_messages(messages: Any) -> list[dict[str, str]] | None:
    """A copy; `None` unless all of them are plain mappings of texts."""
    if type(messages) is not list or len(messages) > _MOST_MESSAGES:
        return None
    copies = []
    for message in messages:
        if (
            type(message) is not dict
            or {*map(type, message), *map(type, message.values())} != _TEXT
        ):
            return None
        copies.append(message.copy())
    return copies


def length_of(messages: list[dict[str, str]]) -> int:
    return sum([sum(map(len, message.values())) for message in messages])

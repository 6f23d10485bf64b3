"""Values as they are now, to be read later: a program may change its own meanwhile.

Pydantic copies what holds others in one step that runs no Python; texts, however long, are not copied.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from pydantic import TypeAdapter

_MOST = 4_096

_serializer: Any = TypeAdapter(Any).serializer
_copy = _serializer.to_python


def snapshot(value: Any) -> Any:
    """With mappings and lists, and Pydantic's models as mappings, that nobody changes any more.

    Raises:
        ValueError: what is in it that can't be copied so is to be read at once.
    """
    return _copy(value, exclude_none=True, warnings=False, fallback=_refuse)


def _refuse(value: Any) -> Any:
    raise ValueError(f"no copy of {type(value).__name__}")


def length_of(value: Any) -> int:
    """Characters of the texts in a snapshot, as far as there are no more than some thousand."""
    length, within = 0, [value]
    for each in islice(within, _MOST):  # which grows meanwhile; what holds itself has no end
        if type(each) is str:
            length += len(each)
        elif isinstance(each, dict):
            within.extend(each.values())
        elif isinstance(each, (list, tuple)):
            within.extend(each)
    return length


def constant(value: Any) -> Callable[[], Any]:
    """For who is asked later, what has been read by now."""
    return lambda: value

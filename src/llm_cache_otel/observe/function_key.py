"""What tells apart the entries of `functools.lru_cache`, as a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_KEYWORDS = "="
_BY_IDENTITY: Any = object.__hash__


def function_key(args: tuple[Any, ...], kwargs: Mapping[str, Any], *, typed: bool) -> str:
    """The same for arguments of one entry, and of this process only.

    Hashes alone would not do: those of -1 and -2 are the same, and so are those of all that holds them.
    """
    parts: list[Any] = [_told(part) for part in args]
    if kwargs:
        parts += [_KEYWORDS, *((name, _told(value)) for name, value in kwargs.items())]
    if typed:
        parts.append([id(type(part)) for part in (*args, *kwargs.values())])
    elif len(args) == 1 and not kwargs and type(args[0]) in (int, str):
        parts.append("alone")  # which the interpreter tells from 1.0
    return repr(parts)


def _told(part: Any) -> Any:
    if isinstance(part, str):
        return "str", hash(part)
    if isinstance(part, (int, float)):
        return _number(part)
    if isinstance(part, tuple):
        return [_told(each) for each in part]
    if isinstance(part, frozenset):
        return "set", sorted(repr(_told(each)) for each in part)
    if dataclasses.is_dataclass(type(part)) and type(part).__hash__ is not _BY_IDENTITY:
        names = [each.name for each in dataclasses.fields(part) if each.compare]
        return type(part).__qualname__, [_told(getattr(part, name)) for name in names]
    return hash(part)


def _number(number: Any) -> str:
    """1, 1.0 and True are one."""
    if isinstance(number, float) and not number.is_integer():
        return repr(number)
    return f"{int(number):x}"

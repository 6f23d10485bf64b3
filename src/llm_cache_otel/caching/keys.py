"""Cache keys: of a function, its arguments, and the schema of what it returns.

The same in every process and on every machine, for as long as none of these changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import (
    AnyUrl,
    BaseModel,
    PydanticSchemaGenerationError,
    SecretBytes,
    SecretStr,
    TypeAdapter,
)

from llm_cache_otel.facts.fact import fact
from llm_cache_otel.guard import Guard
from llm_cache_otel.observe.response_model import json_schema, sorted_defaults

_PREFIX = "instructor_cache:"
_may_fail = Guard(lambda where, error: None)  # but what a signal's handler raises passes through


@fact
class Key:
    """What a call's entry is under; without `text` it has none, for `unwritable`, an argument, can't be
    part of it, or the function does not take these arguments."""

    text: str | None
    unwritable: str | None = None


class Keys:
    """Makes the keys of one function."""

    def __init__(self, function: Callable[..., Any], model: type[BaseModel]) -> None:
        """
        Raises:
            Exception: the model has no JSON schema.
        """
        self._function = f"{function.__module__}.{function.__qualname__}"
        self._schema = json_schema(model)
        # A decorator below ours may take other arguments than what it is around.
        self._signatures = (
            inspect.signature(function),
            inspect.signature(function, follow_wrapped=False),
        )

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Key:
        """Of one call: defaults count as given."""
        arguments = self._arguments(args, kwargs)
        if arguments is None:
            return Key(None)  # calling it raises what it raises
        parts = [self._function, self._schema]
        for name, value in arguments.items():
            written = None
            with _may_fail(name):  # whatever its methods raise
                written = _json([name, _plain(value)])
            if written is None:
                return Key(None, unwritable=name)
            parts.append(written)
        return Key(_PREFIX + hashlib.sha256(_json(parts).encode()).hexdigest())

    def _arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        for signature in self._signatures:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                continue
            bound.apply_defaults()
            return bound.arguments
        return None


def _plain(value: Any) -> Any:
    """What JSON can hold, different for what is different. Nothing is changed, or used up.

    Raises:
        Exception: nothing can be made of it.
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value) is list:
        return [_plain(each) for each in value]
    return {name_of(type(value)): _plain_object(value)}


def _plain_object(value: Any) -> Any:
    if isinstance(value, _CONTAINED) and not isinstance(value, Enum) and object.__getstate__(value):
        raise TypeError("it is more than what it is derived from")
    if is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return [[name, _plain(getattr(value, name))] for name in names]
    for kinds, plain in _PLAIN:
        if isinstance(value, kinds):
            return plain(value)
    raise TypeError("how to tell it from others of its type is not known")


def _items(value: Any) -> list[Any]:
    return [_plain(each) for each in value]


_CONTAINED = (str, int, float, bytes, bytearray, list, tuple, dict, set, frozenset, deque)

_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: _plain(value.value)),
    (type, lambda value: [name_of(value), _schema_of(value)]),
    (BaseModel, lambda value: _plain(parts_of(value))),
    (Mapping, lambda value: sorted(([_plain(k), _plain(v)] for k, v in value.items()), key=_json)),
    (AbstractSet, lambda value: sorted(_items(value), key=_json)),
    ((list, tuple, deque), _items),
    (str, str.__str__),
    (int, int.__repr__),
    (float, float.__repr__),  # JSON knows no infinity
    ((bytes, bytearray, memoryview), lambda value: value.hex()),
    ((SecretStr, SecretBytes), lambda value: _plain(value.get_secret_value())),
    ((complex, Decimal, Fraction, date, time, timedelta, tzinfo, UUID, PurePath, range), repr),
    ((AnyUrl, IPv4Address, IPv4Network, IPv6Address, IPv6Network), repr),
)
"""By the first that it is of; numbers and texts of types of their own as what these are derived from."""


def parts_of(model: BaseModel) -> list[Any]:
    """What makes it equal to another one."""
    held = vars(model)
    fields = {name: held[name] for name in type(model).model_fields if name in held}
    return [fields, model.model_extra, model.__pydantic_private__]


def _schema_of(kind: type) -> Any:
    """What an LLM may be told of a class that is an argument; of most that is nothing."""
    try:
        return sorted_defaults(TypeAdapter(kind).json_schema())
    except PydanticSchemaGenerationError:
        if "<locals>" in kind.__qualname__:
            raise  # there may be several of that name
        return None


def name_of(kind: type) -> str:
    """A class's own, with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

"""Cache keys: of a function, its arguments, and the schema of what it returns.

The same in every process and on every machine, for as long as none of these changes.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_PREFIX = "instructor_cache:"


class UnwritableError(ValueError):
    """An argument that no key can be made of; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Keys:
    """Makes the keys of one function."""

    def __init__(self, function: Callable[..., Any], model: type[BaseModel]) -> None:
        """
        Raises:
            ValueError: the model has no JSON schema.
        """
        self._function = f"{function.__module__}.{function.__qualname__}"
        self._schema = model.model_json_schema()
        self._signature = inspect.signature(function)

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """Of one call: defaults count as given. `None` of arguments that the function does not take.

        Raises:
            UnwritableError: an argument can't be written.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None  # calling it raises what it raises
        bound.apply_defaults()
        arguments = {name: _written(name, value) for name, value in bound.arguments.items()}
        parts = {"function": self._function, "arguments": arguments, "schema": self._schema}
        return _PREFIX + hashlib.sha256(_json(parts).encode()).hexdigest()


def _written(name: str, value: Any) -> Any:
    try:
        return _plain(value)
    except Exception:  # whatever its methods raise
        raise UnwritableError(name) from None


def _plain(value: Any) -> Any:
    """What JSON can hold, different for what is different.

    Raises:
        Exception: nothing can be made of it.
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value) in (list, tuple):
        return [_plain(each) for each in value]
    return {_name_of(type(value)): _plain_object(value)}


def _plain_object(value: Any) -> Any:
    match value:
        case float():
            return repr(value)  # JSON knows no infinity
        case Mapping():
            pairs = ([_plain(name), _plain(each)] for name, each in value.items())
            return sorted(pairs, key=_json)
        case AbstractSet():
            return sorted((_plain(each) for each in value), key=_json)
        case type() if issubclass(value, BaseModel):
            return [_name_of(value), value.model_json_schema()]
        case Iterator():
            raise TypeError("it would be used up")
        case _:
            return to_jsonable_python(value)


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

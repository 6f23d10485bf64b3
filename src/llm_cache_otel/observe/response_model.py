"""What a response model is called, what its schema is, and whether its answers can be cached."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
import weakref
from contextlib import suppress
from types import NoneType, SimpleNamespace, UnionType
from typing import Any

from pydantic import BaseModel

from llm_cache_otel.facts import AnswerKind
from llm_cache_otel.observe.instructor_api import (
    AdapterBase,
    IterableBase,
    ParallelBase,
    PartialBase,
)
from llm_cache_otel.observe.remembered import Remembered

_schema_digests: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


def return_annotation(function: Any) -> Any:
    """What a function is declared to return, whatever else in its annotations can't be resolved.

    Raises:
        Exception: it is written as text, and names what is not there.
    """
    function = inspect.unwrap(function)
    annotation: Any = getattr(function, "__annotations__", {}).get("return")
    if typing.get_origin(annotation) is typing.Annotated:
        return annotation.__origin__
    if not isinstance(annotation, str):
        return annotation
    enclosed = _enclosed(function)
    holder = SimpleNamespace(__annotations__={"return": annotation})
    return typing.get_type_hints(holder, function.__globals__, enclosed)["return"]


def _enclosed(function: Any) -> dict[str, Any]:
    """What a function finds in the functions around it, but for what is defined there only later."""
    enclosed = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            enclosed[name] = cell.cell_contents
    return enclosed


def display_name(response_model: Any) -> str | None:
    """A readable name such as `User`, `list[User]` or `Iterable[User]`; `None` for `None`."""
    if response_model is None:
        return None
    arguments = typing.get_args(response_model)
    origin = typing.get_origin(response_model)
    if origin is None or not arguments:
        return getattr(response_model, "__name__", None) or type(response_model).__name__
    names = [_argument_name(argument) for argument in arguments]
    if origin in (typing.Union, UnionType):
        return " | ".join(names)
    if origin is typing.Annotated:
        return names[0]
    return f"{getattr(origin, '__name__', str(origin))}[{', '.join(names)}]"


def _argument_name(argument: Any) -> str:
    if argument is NoneType:
        return "None"
    if isinstance(argument, type) or typing.get_origin(argument) is not None:
        return display_name(argument) or "None"
    return type(argument).__name__  # a Literal's values, an Annotated's metadata: the user's own


def shown(digest: str | None) -> str | None:
    """As much of a schema's digest as is told: 8 hex digits."""
    return None if digest is None else digest[:8]


def whole_schema_digest(response_model: Any) -> str | None:
    """Hex digits of a Pydantic model's JSON schema, the same in every process; else `None`.

    Remembered by class, so that a hit does not pay for it again.
    """
    if not (isinstance(response_model, type) and issubclass(response_model, BaseModel)):
        return None
    if issubclass(response_model, PartialBase):
        return None  # made anew for every call
    digest = _schema_digests.get(response_model)
    if digest is None:
        digest = hashlib.sha256(json_schema(response_model).encode()).hexdigest()
        _schema_digests[response_model] = digest
    return digest


def json_schema(model: Any) -> str:
    """Of a Pydantic model, the same in every process."""
    return json.dumps(sorted_defaults(model.model_json_schema()), sort_keys=True)


def sorted_defaults(schema: Any, *, in_default: bool = False) -> Any:
    """A JSON schema whose defaults have their lists in order, for those of sets have each process's own."""
    if isinstance(schema, dict):
        return {
            name: sorted_defaults(each, in_default=in_default or name == "default")
            for name, each in schema.items()
        }
    if isinstance(schema, list):
        each_sorted = [sorted_defaults(each, in_default=in_default) for each in schema]
        return sorted(each_sorted, key=json.dumps) if in_default else each_sorted
    return schema


def _named(response_model: Any) -> tuple[str | None, str | None]:
    return display_name(response_model), whole_schema_digest(response_model)


named = Remembered(_named)
"""Of a response model its name and its whole digest."""


def requested_answer(response_model: Any, *, stream: bool, parallel_tools: bool) -> AnswerKind:
    """What kind of answer `create` was asked for, as the caller wrote it."""
    if response_model is None:
        return AnswerKind.NOTHING
    if parallel_tools:
        return AnswerKind.PARALLEL_TOOLS
    if stream:
        return AnswerKind.STREAM
    return AnswerKind.MODEL


def prepared_answer(prepared: Any) -> AnswerKind:
    """What kind of answer the model that Instructor prepared can give."""
    if isinstance(prepared, ParallelBase):
        return AnswerKind.PARALLEL_TOOLS
    if not isinstance(prepared, type):
        return AnswerKind.UNDECIDED
    if IterableBase in prepared.__mro__:
        return AnswerKind.NOT_A_MODEL
    if AdapterBase in prepared.__mro__:
        content = typing.cast("type[BaseModel]", prepared).model_fields["content"].annotation
        return AnswerKind.UNDECIDED if may_be_model(content) else AnswerKind.NOT_A_MODEL
    return AnswerKind.MODEL


def given_answer(result: object) -> AnswerKind:
    """What kind of answer was given where the request left it open."""
    return AnswerKind.MODEL if isinstance(result, BaseModel) else AnswerKind.NOT_A_MODEL


def may_be_model(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, UnionType, typing.Annotated):
        return any(may_be_model(argument) for argument in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)

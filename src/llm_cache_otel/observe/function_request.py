"""Reads what a function was asked: its texts as prompts, and whatever else as parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from llm_cache_otel.facts import KeyedRequest, KeyPart, Section
from llm_cache_otel.observe.sections import UNREADABLE, json_of

_OWNERS = ("self", "cls")


def function_request(
    signature: inspect.Signature | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    function: str,
    schema: str | None,
) -> KeyedRequest | None:
    """From the arguments of one call; `None` for what can't be read.

    A store may have answers of several functions: what is asked of one is nothing to another.
    """
    if signature is None:
        return None
    try:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        texts, parameters = [Section("function", "", function)], {}
        for number, (name, value) in enumerate(_arguments(bound)):
            if isinstance(value, str):
                texts.append(Section("arguments", value, name, number))
            else:
                parameters[name] = _written(name, value)
        parts: dict[KeyPart, str | None] = {
            KeyPart.SCHEMA: schema,
            KeyPart.PARAMETERS: json_of([function, parameters]),
        }
        return KeyedRequest(tuple(texts), parts, parameters)
    except UNREADABLE:
        return None


def argument_values(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Any]:
    """With those that it has by default."""
    given = [*args, *kwargs.values()]
    if signature is None:
        return given
    defaults = (each.default for each in signature.parameters.values())
    return [*given, *(value for value in defaults if value is not inspect.Parameter.empty)]


def _arguments(bound: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
    for name, value in bound.arguments.items():
        match bound.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                yield from ((f"{name}.{number}", each) for number, each in enumerate(value))
            case inspect.Parameter.VAR_KEYWORD:
                yield from value.items()
            case _:
                yield name, value


def _written(name: str, value: Any) -> str:
    """An object whose method it is, is told by its identity."""
    return f"{type(value).__name__} {id(value)}" if name in _OWNERS else json_of(value)

"""Reads the parts of a key: what the caller asked for, as far as this Instructor's keys have it.

The caller's own messages and parameters tell what changed better than what Instructor makes of them: a schema
goes into the messages in JSON modes, and a mode brings parameters of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from llm_cache_otel.facts import KeyedRequest, KeyPart
from llm_cache_otel.observe import response_model
from llm_cache_otel.observe.sdk import request_settings, requested_model
from llm_cache_otel.observe.sections import MESSAGES, SYSTEM, UNREADABLE, json_of, sections_of
from llm_cache_otel.observe.snapshot import SCALARS, Unread, length_of, plain_messages

_SCHEMA = (
    *("tools", "tool_choice", "functions", "function_call", "response_format"),
    "toolConfig",
)
_OTHERS = frozenset(
    {
        *("response_model", "model", "modelId", "mode"),
        *("context", "validation_context", "strict", "max_retries", "hooks", "token_budget"),
        *("cache", "cache_ttl", "cache_namespace", "autodetect_images"),
        *(*SYSTEM, *MESSAGES),
    }
)
"""Of what `create` is called with, what is neither a parameter of the request nor a tool."""

_ELSEWHERE = frozenset({*SYSTEM, *MESSAGES}) - {"messages"}
_WITH_REQUEST = ("args", "strict", "context", "namespace")

_Others = tuple[Any, ...]
"""What else is in a key of a whole request: parameters and tools, settings, the client as JSON, and what the
function was called with by the names in `_WITH_REQUEST`."""

_Rest = tuple[str | None, str, str, _Others | None]
"""Model, schema and mode; and what else there is."""


def as_asked(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """With messages that nobody changes who is given the caller's own."""
    messages = asked.get("messages")
    if not isinstance(messages, list):
        return asked
    return {**asked, "messages": [_copied(message) for message in messages]}


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if type(value) is list else value


def keyed_request(
    arguments: Mapping[str, Any], asked: Mapping[str, Any], schema: str | None = None
) -> KeyedRequest | Unread[KeyedRequest | None] | None:
    """From what the key function, and what `create`, was called with; `None` for what can't be read.

    `schema` is the whole digest of the model that was asked for, if it has one: Instructor makes another
    class of it for each call.

    Since 1.17 keys are of the whole request (`request`), before of its model, messages, schema and mode.
    """
    if not arguments:
        return None  # no key was made
    request = arguments.get("request")
    others = None
    try:
        if schema is None:
            schema = response_model.json_schema(arguments["response_model"])
        if request is not None:
            others = (
                {} if _OTHERS.issuperset(asked) else _in_key(request, asked),
                # Where Instructor puts the settings for google-genai.
                request_settings(request) if "config" in request else {},
                # It has what belongs to the client itself.
                json_of((arguments.get("client_identity"), arguments.get("provider"))),
                *map(arguments.get, _WITH_REQUEST),
            )
        mode = str(arguments.get("mode"))
    except UNREADABLE:
        return None
    model = requested_model(arguments if request is None else request)
    rest = model, schema, mode, others
    if _ELSEWHERE.isdisjoint(asked) and (others is None or _is_constant(others)):
        messages = plain_messages(asked.get("messages"))
        if messages is not None:
            return Unread(partial(_read, rest, {"messages": messages}), length_of(messages))
    return _read(rest, asked)


def _is_constant(others: _Others) -> bool:
    """Whether the program could change nothing of it."""
    in_key, _, _, args, *values = others
    return args in ((), None) and SCALARS.issuperset(map(type, (*in_key.values(), *values)))


def _read(rest: _Rest, asked: Mapping[str, Any]) -> KeyedRequest | None:
    model, schema, mode, others = rest
    parts: dict[KeyPart, str | None] = {
        KeyPart.MODEL: model,
        KeyPart.SCHEMA: schema,
        KeyPart.MODE: mode,
    }
    parameters: dict[str, str] = {}
    try:
        if others is not None:
            in_key, settings, client, args, strict, context, namespace = others
            tools = {name: in_key[name] for name in _SCHEMA if name in in_key}
            parameters = {"strict": json_of(strict)}
            for name, value in in_key.items():
                if name not in tools:
                    parameters |= _parameters(name, value)
            parameters |= {name: json_of(number) for name, number in settings.items()}
            parts |= {
                KeyPart.SCHEMA: f"{schema} {json_of(tools)}",
                KeyPart.PARAMETERS: f"{json_of(parameters)} {json_of(args)}",
                KeyPart.CONTEXT: json_of(context),
                KeyPart.NAMESPACE: json_of(namespace),
                KeyPart.CLIENT: client,
            }
        return KeyedRequest(tuple(sections_of(asked)), parts, parameters)
    except UNREADABLE:
        return None


def _in_key(request: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for beside the prompt."""
    return {
        name: value
        for name, value in asked.items()
        if name not in _OTHERS and _is_in(request, name, value)
    }


def _is_in(request: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether Instructor passes it on as it was asked for."""
    if name not in request:
        return False
    return request[name] is value or json_of(request[name]) == json_of(value)


def _parameters(name: str, value: Any) -> dict[str, str]:
    if name == "extra_headers" and isinstance(value, Mapping) and value:
        return {f"{name}.{header}": json_of(each) for header, each in value.items()}
    return {name: json_of(value)}

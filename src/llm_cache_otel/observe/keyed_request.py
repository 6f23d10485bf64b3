"""Reads the parts of a key: what the caller asked for, as far as this Instructor's keys have it.

The caller's own messages and parameters tell what changed better than what Instructor makes of them: a schema
goes into the messages in JSON modes, and a mode brings parameters of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_cache_otel.facts import KeyedRequest, KeyPart
from llm_cache_otel.observe import response_model
from llm_cache_otel.observe.sdk import request_settings, requested_model
from llm_cache_otel.observe.sections import MESSAGES, SYSTEM, UNREADABLE, json_of, sections_of

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


def keyed_request(arguments: Mapping[str, Any], asked: Mapping[str, Any]) -> KeyedRequest | None:
    """From what the key function, and what `create`, was called with; `None` for what can't be read.

    Since 1.17 keys are of the whole request (`request`), before of its model, messages, schema and mode.
    """
    request = arguments.get("request")
    try:
        schema = _schema(arguments, asked)
        parts: dict[KeyPart, str | None] = {
            KeyPart.MODEL: requested_model(arguments if request is None else request),
            KeyPart.SCHEMA: schema,
            KeyPart.MODE: str(arguments.get("mode")),
        }
        parameters: dict[str, str] = {}
        if request is not None:
            in_key = {} if _OTHERS.issuperset(asked) else _in_key(request, asked)
            tools = {name: in_key.pop(name) for name in _SCHEMA if name in in_key} if in_key else {}
            parameters = dict(_parameters(in_key, arguments))
            if "config" in request:  # where Instructor puts the settings for google-genai
                numbers = request_settings(request)
                parameters |= {name: json_of(number) for name, number in numbers.items()}
            parts |= {
                KeyPart.SCHEMA: f"{schema} {json_of(tools)}",
                KeyPart.PARAMETERS: f"{json_of(parameters)} {json_of(arguments.get('args'))}",
                KeyPart.CONTEXT: json_of(arguments.get("context")),
                KeyPart.NAMESPACE: json_of(arguments.get("namespace")),
                KeyPart.CLIENT: json_of(
                    (arguments.get("client_identity"), arguments.get("provider"))
                ),
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


def _schema(arguments: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Of what was asked for, if it is a class, for Instructor makes another of it for each call."""
    schema = response_model.whole_schema_digest(asked.get("response_model"))
    return schema or response_model.json_schema(arguments["response_model"])


def _parameters(
    in_key: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    yield "strict", json_of(arguments.get("strict"))
    for name, value in in_key.items():
        if name == "extra_headers" and isinstance(value, Mapping) and value:
            for header, each in value.items():
                yield f"{name}.{header}", json_of(each)
        else:
            yield name, json_of(value)

"""Reads the parts of a key: what the caller asked for, as far as this Instructor's keys have it.

The caller's own messages and parameters tell what changed better than what Instructor makes of them: a schema
goes into the messages in JSON modes, and a mode brings parameters of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from llm_cache_otel.facts import KeyedRequest, KeyPart, NotedRequest
from llm_cache_otel.observe import response_model
from llm_cache_otel.observe.sdk import request_settings, requested_model
from llm_cache_otel.observe.sections import MESSAGES, SYSTEM, UNREADABLE, json_of, sections_of
from llm_cache_otel.observe.snapshot import length_of, snapshot

_SCHEMA = (
    *("tools", "tool_choice", "functions", "function_call", "response_format"),
    "toolConfig",
)
_PROMPT = frozenset({*SYSTEM, *MESSAGES})
_OTHERS = frozenset(
    {
        *("response_model", "model", "modelId", "mode"),
        *("context", "validation_context", "strict", "max_retries", "hooks", "token_budget"),
        *("cache", "cache_ttl", "cache_namespace", "autodetect_images"),
        *_PROMPT,
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


def noted_request(arguments: Mapping[str, Any], asked: Mapping[str, Any]) -> NotedRequest | None:
    """From what the key function, and what `create`, was called with; `None` for what can't be read.

    Since 1.17 keys are of the whole request (`request`), before of its model, messages, schema and mode.
    """
    request = arguments.get("request")
    try:
        # What Instructor has made for this key alone is as it is.
        made: Any = (
            requested_model(arguments if request is None else request),
            _schema(arguments, asked),
            *map(arguments.get, _MADE),
            # of google-genai, where Instructor puts them elsewhere
            request_settings(request) if request is not None and "config" in request else {},
        )
        given: Any = (
            {name: asked[name] for name in _PROMPT.intersection(asked)},
            None if request is None else _in_key(request, asked),
            arguments.get("args"),
            arguments.get("context"),
        )
        try:
            given = snapshot(given)
        except UNREADABLE:
            found = _keyed_request(*made, *given)
            return None if found is None else found.noted()
        return NotedRequest(partial(_keyed_request, *made, *given), length_of(given[0]))
    except UNREADABLE:
        return None


_MADE = ("mode", "strict", "namespace", "client_identity", "provider")


def _keyed_request(
    model: str | None,
    schema: str,
    mode: Any,
    strict: Any,
    namespace: Any,
    client_identity: Any,
    provider: Any,
    numbers: Mapping[str, float],
    prompt: Mapping[str, Any],
    in_key: Mapping[str, Any] | None,
    args: Any,
    context: Any,
) -> KeyedRequest | None:
    try:
        parts: dict[KeyPart, str | None] = {
            KeyPart.MODEL: model,
            KeyPart.SCHEMA: schema,
            KeyPart.MODE: str(mode),
        }
        parameters: dict[str, str] = {}
        if in_key is not None:
            tools = {name: in_key[name] for name in _SCHEMA if name in in_key}
            parameters = dict(_parameters(in_key, strict))
            parameters |= {name: json_of(number) for name, number in numbers.items()}
            parts |= {
                KeyPart.SCHEMA: f"{schema} {json_of(tools)}",
                KeyPart.PARAMETERS: f"{json_of(parameters)} {json_of(args)}",
                KeyPart.CONTEXT: json_of(context),
                KeyPart.NAMESPACE: json_of(namespace),
                KeyPart.CLIENT: json_of((client_identity, provider)),
            }
        return KeyedRequest(tuple(sections_of(prompt)), parts, parameters)
    except UNREADABLE:
        return None


def _in_key(request: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for beside the prompt, as far as Instructor passes it on."""
    if _OTHERS.issuperset(asked):
        return {}
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


def _parameters(in_key: Mapping[str, Any], strict: Any) -> Iterator[tuple[str, str]]:
    yield "strict", json_of(strict)
    for name, value in in_key.items():
        if name in _SCHEMA:
            continue
        if name == "extra_headers" and isinstance(value, Mapping) and value:
            for header, each in value.items():
                yield f"{name}.{header}", json_of(each)
        else:
            yield name, json_of(value)

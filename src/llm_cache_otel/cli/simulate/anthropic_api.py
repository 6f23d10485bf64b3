"""Anthropic's messages, plain and streamed. https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import (
    BadRequest,
    Exchange,
    Json,
    chunks,
    server_sent,
    written,
)
from llm_cache_otel.cli.simulate.ledger import Used
from llm_cache_otel.cli.simulate.prompt_cache import TTLS, Block, Input

_MOST_MARKERS = 4


def error(exchange: Exchange) -> Response:
    detail = {"type": "api_error", "message": exchange.cue.message}
    return exchange.error({"type": "error", "error": detail})


def messages(exchange: Exchange) -> Response:
    tools = exchange.body.get("tools")
    schema = tools[0]["input_schema"] if tools else _format_schema(exchange.body)
    text = exchange.answer(schema)
    used = exchange.billed(_read(exchange), text)
    if exchange.body.get("stream"):
        return exchange.event_stream(_events(exchange, text, used))
    return JSONResponse(_message(exchange, [_content(exchange, text)], used))


def _format_schema(body: Json) -> Json | None:
    schema: Json | None = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    return schema


def _message(exchange: Exchange, content: list[Json], used: Used, *, ended: bool = True) -> Json:
    message_id = f"msg_{exchange.digest}"
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": content,
        "stop_reason": _stop_reason(exchange) if ended else None,
        "stop_sequence": None,
        "diagnostics": exchange.earlier.diagnose(exchange.body, message_id),
        "usage": {**_input_usage(used), "output_tokens": used.output if ended else 1},
    }


def _stop_reason(exchange: Exchange) -> str:
    return "tool_use" if exchange.body.get("tools") else "end_turn"


def _content(exchange: Exchange, text: str) -> Json:
    tools = exchange.body.get("tools")
    if not tools:
        return {"type": "text", "text": text}
    return {
        "type": "tool_use",
        "id": f"toolu_{exchange.digest[:12]}",
        "name": tools[0]["name"],
        "input": json.loads(text) if text else {},
    }


def _input_usage(used: Used) -> Json:
    return {
        "input_tokens": used.input.total - used.input.read - used.input.written,
        "cache_creation_input_tokens": used.input.written,
        "cache_read_input_tokens": used.input.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.input.write_5m,
            "ephemeral_1h_input_tokens": used.input.write_1h,
        },
        "service_tier": "standard",
    }


def _events(exchange: Exchange, text: str, used: Used) -> Iterator[str]:
    """Usage comes in two parts: the input's with the start, the output's with the end."""
    has_tools = bool(exchange.body.get("tools"))
    block = _content(exchange, "") if has_tools else {"type": "text", "text": ""}
    kind, part = ("input_json_delta", "partial_json") if has_tools else ("text_delta", "text")
    events: list[Json] = [
        {"type": "message_start", "message": _message(exchange, [], used, ended=False)},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, part: piece}}
            for piece in chunks(text)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(exchange), "stop_sequence": None},
            "usage": {"output_tokens": used.output},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        yield server_sent(event, event["type"])


def _read(exchange: Exchange) -> Input:
    """What is marked, in the order tools, system, messages.

    https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching
    """
    body = exchange.body
    blocks = [
        *map(_block, body.get("tools", [])),
        *map(_block, _blocks(body.get("system"))),
        *(
            _block({"role": message["role"], "content": part})
            for message in body.get("messages", [])
            for part in _blocks(message["content"])
        ),
    ]
    if "cache_control" in body and blocks:  # of the whole request: it marks what comes last
        blocks[-1] = replace(blocks[-1], ttl=_ttl(body["cache_control"]))
    marked = sum(block.ttl is not None for block in blocks)
    if marked > _MOST_MARKERS:
        raise BadRequest(
            f"A maximum of {_MOST_MARKERS} blocks with cache_control may be provided. Found {marked}."
        )
    return exchange.cache.marked(exchange.model, blocks, minimum=_minimum(exchange.model))


def _blocks(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content] if content else []


def _block(part: Any) -> Block:
    inner = part.get("content", part) if isinstance(part, dict) else part
    marker = inner.get("cache_control") if isinstance(inner, dict) else None
    if marker is None:
        return Block(written(part))
    unmarked = {name: value for name, value in inner.items() if name != "cache_control"}
    text = written({**part, "content": unmarked} if inner is not part else unmarked)
    return Block(text, _ttl(marker))


def _ttl(marker: Json) -> str:
    ttl = marker.get("ttl", "5m")
    if ttl not in TTLS:
        raise BadRequest(f"cache_control.ttl: Input should be '5m' or '1h', not {ttl!r}")
    return str(ttl)


def _minimum(model: str) -> int:
    if "haiku-4-5" in model or "opus-4-5" in model:
        return 4096
    return 512 if model.endswith("-5-5") else 1024

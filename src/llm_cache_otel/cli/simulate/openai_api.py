"""OpenAI's wire formats: chat completions and responses, plain and streamed; and what others make of them.

https://platform.openai.com/docs/api-reference/chat/object and …/responses/object
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import Exchange, Json, chunks, server_sent, written
from llm_cache_otel.cli.simulate.ledger import Used
from llm_cache_otel.cli.simulate.prompt_cache import Block, Input

_CREATED = int(time.time())  # one moment for all, so that equal requests have equal answers
_DAY = 86_400.0


def error(exchange: Exchange) -> Response:
    detail = {
        "message": exchange.cue.message,
        "type": "simulated_error",
        "code": None,
        "param": None,
    }
    return exchange.error({"error": detail})


def chat_completions(exchange: Exchange) -> Response:
    body = exchange.body
    tool = _first_tool(body)
    schema = tool["parameters"] if tool else _format_schema(body.get("response_format"))
    text = exchange.answer(schema)
    used = exchange.billed(_read(exchange), text)
    if body.get("stream"):
        return exchange.event_stream(_chat_chunks(exchange, tool, text, used))
    message: Json = {"role": "assistant", "content": None if tool else text}
    if tool:
        message["tool_calls"] = [_tool_call(exchange, tool, text)]
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return JSONResponse(
        {
            "id": f"chatcmpl-{exchange.digest}",
            "object": "chat.completion",
            "created": _CREATED,
            "model": exchange.model,
            "service_tier": _service_tier(exchange),
            "choices": [choice],
            "usage": _chat_usage(exchange, used),
        }
    )


def _read(exchange: Exchange) -> Input:
    """From 1024 tokens on, in steps of 128; DeepSeek from 64 in steps of as many.

    Since GPT-5.6 without steps, and writes are charged for.
    https://platform.openai.com/docs/guides/prompt-caching and https://api-docs.deepseek.com/guides/kv_cache
    """
    body = exchange.body
    parts = [
        *body.get("tools", []),
        *filter(None, (body.get("response_format"), body.get("instructions"))),
        *(body.get("messages") or _inputs(body.get("input"))),
    ]
    minimum, granularity = (64, 64) if _is_deepseek(exchange) else (1024, 128)
    is_newer = _charges_for_writes(exchange)
    kept_long = body.get("prompt_cache_retention") == "24h"
    return exchange.cache.automatic(
        f"{exchange.model} {body.get('prompt_cache_key', '')}",
        [Block(written(part)) for part in parts],
        minimum=minimum,
        granularity=1 if is_newer else granularity,
        seconds=_DAY if kept_long else None,
        writes_cost=is_newer,
    )


def _service_tier(exchange: Exchange) -> str:
    asked = exchange.body.get("service_tier")
    return asked if asked in ("flex", "priority") else "default"


def _inputs(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _is_deepseek(exchange: Exchange) -> bool:
    return exchange.model.startswith("deepseek")


def _charges_for_writes(exchange: Exchange) -> bool:
    return exchange.model.startswith("gpt-5.6")


def _first_tool(body: Json) -> Json | None:
    tools = body.get("tools")
    return tools[0]["function"] if tools else None


def _format_schema(response_format: Any) -> Json | None:
    if not isinstance(response_format, dict) or response_format.get("type") == "text":
        return None
    schema: Json = response_format.get("json_schema", {}).get("schema", {"type": "object"})
    return schema


def _text_schema(body: Json) -> Json | None:
    """Of the Responses API, which has it flat."""
    schema: Json | None = ((body.get("text") or {}).get("format") or {}).get("schema")
    return schema


def _tool_call(exchange: Exchange, tool: Json, arguments: str) -> Json:
    return {
        "id": f"call_{exchange.digest[:12]}",
        "type": "function",
        "function": {"name": tool["name"], "arguments": arguments},
    }


def _chat_usage(exchange: Exchange, used: Used) -> Json:
    usage: Json = {
        "prompt_tokens": used.input.total,
        "completion_tokens": used.output,
        "total_tokens": used.input.total + used.output,
        "prompt_tokens_details": {**_details(exchange, used), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    if _is_deepseek(exchange):
        usage["prompt_cache_hit_tokens"] = used.input.read
        usage["prompt_cache_miss_tokens"] = used.input.total - used.input.read
    return usage


def _details(exchange: Exchange, used: Used) -> Json:
    details: Json = {"cached_tokens": used.input.read}
    if _charges_for_writes(exchange):
        details["cache_write_tokens"] = used.input.written
    return details


def _chat_chunks(exchange: Exchange, tool: Json | None, text: str, used: Used) -> Iterator[str]:
    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        return {
            "id": f"chatcmpl-{exchange.digest}",
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": exchange.model,
            "service_tier": _service_tier(exchange),
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }

    first: Json = {"role": "assistant", "content": None if tool else ""}
    if tool:
        first["tool_calls"] = [{"index": 0, **_tool_call(exchange, tool, "")}]
    yield server_sent(chunk(first))
    for piece in chunks(text):
        part = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        yield server_sent(chunk(part if tool else {"content": piece}))
    yield server_sent(chunk({}, "stop"))
    if (exchange.body.get("stream_options") or {}).get("include_usage"):
        yield server_sent({**chunk({}), "choices": [], "usage": _chat_usage(exchange, used)})
    yield "data: [DONE]\n\n"


def responses(exchange: Exchange) -> Response:
    tools = [tool for tool in exchange.body.get("tools", []) if tool.get("type") == "function"]
    tool = tools[0] if tools else None
    schema = tool["parameters"] if tool else _text_schema(exchange.body)
    text = exchange.answer(schema)
    used = exchange.billed(_read(exchange), text)
    if exchange.body.get("stream"):
        return exchange.event_stream(_response_events(exchange, tool, text, used))
    return JSONResponse(
        _response(exchange, "completed", [_output_item(exchange, tool, text)], used)
    )


def _output_item(exchange: Exchange, tool: Json | None, text: str) -> Json:
    if tool is None:
        content = {"type": "output_text", "text": text, "annotations": []}
        return {
            "id": f"msg_{exchange.digest}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [content],
        }
    return {
        "id": f"fc_{exchange.digest}",
        "type": "function_call",
        "call_id": f"call_{exchange.digest[:12]}",
        "name": tool["name"],
        "arguments": text,
        "status": "completed",
    }


def _response(exchange: Exchange, status: str, output: list[Json], used: Used | None) -> Json:
    return {
        "id": f"resp_{exchange.digest}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "model": exchange.model,
        "service_tier": _service_tier(exchange),
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None if used is None else _response_usage(exchange, used),
    }


def _response_usage(exchange: Exchange, used: Used) -> Json:
    return {
        "input_tokens": used.input.total,
        "input_tokens_details": _details(exchange, used),
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.input.total + used.output,
    }


def _response_events(exchange: Exchange, tool: Json | None, text: str, used: Used) -> Iterator[str]:
    item = _output_item(exchange, tool, text)
    kind = "response.function_call_arguments" if tool else "response.output_text"
    place: Json = {"output_index": 0, "item_id": item["id"], "content_index": 0}
    events: list[Json] = [
        {"type": "response.created", "response": _response(exchange, "in_progress", [], None)},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        *({"type": f"{kind}.delta", "delta": piece, **place} for piece in chunks(text)),
        {
            "type": f"{kind}.done",
            "arguments": text,
            "text": text,
            "name": item.get("name"),
            **place,
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": _response(exchange, "completed", [item], used),
        },
    ]
    for number, event in enumerate(events):
        yield server_sent({**event, "sequence_number": number}, event["type"])

"""OpenAI's wire formats: chat completions and responses, plain and streamed.

https://platform.openai.com/docs/api-reference/chat/object and …/responses/object
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import Exchange, Json, chunks, server_sent, tokens

_CREATED = 1_760_000_000


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
    if body.get("stream"):
        return exchange.event_stream(_chat_chunks(exchange, tool, text))
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
            "choices": [choice],
            "usage": _chat_usage(exchange, text),
        }
    )


def _first_tool(body: Json) -> Json | None:
    tools = body.get("tools")
    return tools[0]["function"] if tools else None


def _format_schema(response_format: Any) -> Json | None:
    if not isinstance(response_format, dict) or response_format.get("type") == "text":
        return None
    schema: Json = response_format.get("json_schema", {}).get("schema", {"type": "object"})
    return schema


def _tool_call(exchange: Exchange, tool: Json, arguments: str) -> Json:
    return {
        "id": f"call_{exchange.digest[:12]}",
        "type": "function",
        "function": {"name": tool["name"], "arguments": arguments},
    }


def _chat_usage(exchange: Exchange, text: str) -> Json:
    prompt, completion = exchange.input_tokens, tokens(text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _chat_chunks(exchange: Exchange, tool: Json | None, text: str) -> Iterator[str]:
    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        return {
            "id": f"chatcmpl-{exchange.digest}",
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": exchange.model,
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
        yield server_sent({**chunk({}), "choices": [], "usage": _chat_usage(exchange, text)})
    yield "data: [DONE]\n\n"


def responses(exchange: Exchange) -> Response:
    tools = [tool for tool in exchange.body.get("tools", []) if tool.get("type") == "function"]
    tool = tools[0] if tools else None
    text = exchange.answer(tool["parameters"] if tool else None)
    if exchange.body.get("stream"):
        return exchange.event_stream(_response_events(exchange, tool, text))
    return JSONResponse(
        _response(exchange, "completed", [_output_item(exchange, tool, text)], text)
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


def _response(exchange: Exchange, status: str, output: list[Json], text: str | None) -> Json:
    return {
        "id": f"resp_{exchange.digest}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "model": exchange.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None if text is None else _response_usage(exchange, text),
    }


def _response_usage(exchange: Exchange, text: str) -> Json:
    return {
        "input_tokens": exchange.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens(text),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": exchange.input_tokens + tokens(text),
    }


def _response_events(exchange: Exchange, tool: Json | None, text: str) -> Iterator[str]:
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
            "response": _response(exchange, "completed", [item], text),
        },
    ]
    for number, event in enumerate(events):
        yield server_sent({**event, "sequence_number": number}, event["type"])

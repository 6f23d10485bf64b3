"""Anthropic's messages, plain. https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

import json

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import Exchange, Json, tokens


def error(exchange: Exchange) -> Response:
    detail = {"type": "api_error", "message": exchange.cue.message}
    return exchange.error({"type": "error", "error": detail})


def messages(exchange: Exchange) -> Response:
    tools = exchange.body.get("tools")
    text = exchange.answer(tools[0]["input_schema"] if tools else None)
    content: Json = {"type": "text", "text": text}
    if tools:
        content = {
            "type": "tool_use",
            "id": f"toolu_{exchange.digest[:12]}",
            "name": tools[0]["name"],
            "input": json.loads(text),
        }
    return JSONResponse(
        {
            "id": f"msg_{exchange.digest}",
            "type": "message",
            "role": "assistant",
            "model": exchange.model,
            "content": [content],
            "stop_reason": "tool_use" if tools else "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": exchange.input_tokens,
                "output_tokens": tokens(text),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }
    )

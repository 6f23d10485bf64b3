"""Bedrock's Converse. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import BadRequest, Exchange, Json, written
from llm_cache_otel.cli.simulate.prompt_cache import TTLS, Block, Input

_MINIMUM = 1024


def error(exchange: Exchange) -> Response:
    kind = {429: "ThrottlingException", 400: "ValidationException"}
    headers = {"x-amzn-errortype": kind.get(exchange.cue.status, "InternalServerException")}
    return exchange.error({"message": exchange.cue.message}, headers)


def converse(exchange: Exchange) -> Response:
    tools = [tool["toolSpec"] for tool in _tools(exchange.body) if "toolSpec" in tool]
    text = exchange.answer(tools[0]["inputSchema"]["json"] if tools else None)
    content: Json = {"text": text}
    if tools:
        content = {
            "toolUse": {
                "toolUseId": f"tooluse_{exchange.digest[:12]}",
                "name": tools[0]["name"],
                "input": json.loads(text),
            }
        }
    read = _read(exchange)
    used = exchange.billed(read, text)
    usage: Json = {
        "inputTokens": read.total - read.read - read.written,
        "outputTokens": used.output,
        "totalTokens": read.total + used.output,
        "cacheReadInputTokens": read.read,
        "cacheWriteInputTokens": read.written,
        "cacheDetails": [
            {"ttl": ttl, "inputTokens": tokens}
            for ttl, tokens in (("5m", read.write_5m), ("1h", read.write_1h))
            if tokens
        ],
    }
    return JSONResponse(
        {
            "output": {"message": {"role": "assistant", "content": [content]}},
            "stopReason": "tool_use" if tools else "end_turn",
            "usage": usage,
            "metrics": {"latencyMs": 1},
        },
        headers={"x-amzn-requestid": exchange.digest},
    )


def _tools(body: Json) -> list[Json]:
    tools: list[Json] = body.get("toolConfig", {}).get("tools", [])
    return tools


def _read(exchange: Exchange) -> Input:
    body = exchange.body
    blocks = [
        *_blocks(_tools(body)),
        *_blocks(body.get("system", [])),
        *(
            block
            for message in body.get("messages", [])
            for block in _blocks(message["content"], message["role"])
        ),
    ]
    return exchange.cache.marked(exchange.model, blocks, minimum=_MINIMUM)


def _blocks(parts: list[Any], role: str = "") -> Iterator[Block]:
    """A `cachePoint` of its own stands behind what it marks."""
    waiting: str | None = None
    for part in parts:
        if "cachePoint" in part:
            if waiting is not None:
                ttl = part["cachePoint"].get("ttl", "5m")
                if ttl not in TTLS:
                    raise BadRequest(f"cachePoint.ttl must be '5m' or '1h', not {ttl!r}")
                yield Block(waiting, ttl)
            waiting = None
            continue
        if waiting is not None:
            yield Block(waiting)
        waiting = role + written(part)
    if waiting is not None:
        yield Block(waiting)

"""Gemini's generateContent, plain and streamed. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import json
from collections.abc import Iterator

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import Exchange, Json, chunks, server_sent, written
from llm_cache_otel.cli.simulate.ledger import Used
from llm_cache_otel.cli.simulate.prompt_cache import Block, Input

_HOUR = 3600.0
_SCHEMAS = (
    ("responseSchema", "responseJsonSchema"),
    (
        "parameters",
        "parametersJsonSchema",
        "parameters_json_schema",
    ),  # which Google's own SDK writes
)
"""Of an answer, and of a function."""


def error(exchange: Exchange) -> Response:
    detail = {"code": exchange.cue.status, "message": exchange.cue.message, "status": "INTERNAL"}
    return exchange.error({"error": detail})


def generate_content(exchange: Exchange) -> Response:
    text, part, used = _answered(exchange)
    return JSONResponse(_answer(exchange, part or {"text": text}, used))


def stream_generate_content(exchange: Exchange) -> Response:
    text, part, used = _answered(exchange)
    return exchange.event_stream(_events(exchange, text, part, used))


def _answered(exchange: Exchange) -> tuple[str, Json | None, Used]:
    """The text, the call of a function that it is if one was declared, and what was used."""
    declarations = [
        declaration
        for tool in exchange.body.get("tools", [])
        for declaration in tool.get("functionDeclarations", [])
    ]
    config = exchange.body.get("generationConfig", {})
    asked = declarations[0] if declarations else config
    schema = next((asked[name] for name in _SCHEMAS[bool(declarations)] if name in asked), None)
    text = exchange.answer(schema)
    part: Json | None = None
    if declarations:
        part = {"functionCall": {"name": declarations[0]["name"], "args": json.loads(text)}}
    return text, part, exchange.billed(_read(exchange), text)


def _answer(exchange: Exchange, part: Json, used: Used, finish_reason: str | None = "STOP") -> Json:
    candidate: Json = {"content": {"role": "model", "parts": [part]}, "index": 0}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    usage: Json = {
        "promptTokenCount": used.input.total,
        "candidatesTokenCount": used.output,
        "totalTokenCount": used.input.total + used.output,
    }
    if used.input.read:  # left out where nothing was cached
        usage["cachedContentTokenCount"] = used.input.read
    return {
        "responseId": exchange.digest,
        "modelVersion": exchange.model,
        "candidates": [candidate],
        "usageMetadata": usage,
    }


def _events(exchange: Exchange, text: str, part: Json | None, used: Used) -> Iterator[str]:
    """Every chunk has the usage so far; calls of functions come in one piece."""
    parts = [{"text": piece} for piece in chunks(text)] if part is None else [part]
    for number, piece in enumerate(parts, 1):
        so_far = Used(used.input, used.output * number // len(parts))
        finish_reason = "STOP" if number == len(parts) else None
        yield server_sent(_answer(exchange, piece, so_far, finish_reason))


def _read(exchange: Exchange) -> Input:
    """Implicit caching: what prompts begin with alike. https://ai.google.dev/gemini-api/docs/caching"""
    body = exchange.body
    parts = [body.get("systemInstruction"), *body.get("tools", []), *body.get("contents", [])]
    return exchange.cache.automatic(
        exchange.model,
        [Block(written(part)) for part in parts if part],
        minimum=4096 if "pro" in exchange.model else 1024,
        seconds=_HOUR,
    )

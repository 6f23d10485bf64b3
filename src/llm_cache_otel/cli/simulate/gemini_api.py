"""Gemini's generateContent, plain. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import json

from starlette.responses import JSONResponse, Response

from llm_cache_otel.cli.simulate.exchange import Exchange, Json, tokens


def error(exchange: Exchange) -> Response:
    detail = {"code": exchange.cue.status, "message": exchange.cue.message, "status": "INTERNAL"}
    return exchange.error({"error": detail})


def generate_content(exchange: Exchange) -> Response:
    declarations = [
        declaration
        for tool in exchange.body.get("tools", [])
        for declaration in tool.get("functionDeclarations", [])
    ]
    config = exchange.body.get("generationConfig", {})
    schema = declarations[0].get("parameters") if declarations else config.get("responseSchema")
    text = exchange.answer(schema)
    part: Json = {"text": text}
    if declarations:
        part = {"functionCall": {"name": declarations[0]["name"], "args": json.loads(text)}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return JSONResponse(
        {
            "responseId": exchange.digest,
            "modelVersion": exchange.model,
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": exchange.input_tokens,
                "candidatesTokenCount": tokens(text),
                "totalTokenCount": exchange.input_tokens + tokens(text),
            },
        }
    )

"""Stands in for OpenAI on this machine, so that tests which call a model run without one.

    python stand_in.py   prints its address, and serves until it is stopped

Its answers fit the schema that a request carries. What is in them it reads out of the prompt, "Jason is
25 years old" for one; a number nobody named is 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

_WRONG_KEY = "incorrect_key"
_ITEMS = 2
_CHUNK = 3


def chat(request: Json) -> Json:
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": tool["function"]["name"],
                "arguments": json.dumps(answer(tool["function"]["parameters"], request)),
            },
        }
        for number, tool in enumerate(request.get("tools", ()))
    ]
    message: Json = {"role": "assistant", "content": None if calls else text(request)}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {**head(request, "chat.completion"), "choices": [choice], "usage": usage}


def chunks(request: Json) -> Iterator[Json]:
    """The same, streamed."""

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**head(request, "chat.completion.chunk"), "choices": [choice]}

    message = chat(request)["choices"][0]["message"]
    for piece in cut(message["content"] or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield chunk(
            {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        )
        for piece in cut(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "stop")


def head(request: Json, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_760_000_000, "model": request["model"]}


def cut(long: str) -> list[str]:
    return [long[start : start + _CHUNK] for start in range(0, len(long), _CHUNK)]


def text(request: Json) -> str:
    wanted = request.get("response_format", {})
    schema = wanted.get("json_schema", {}).get("schema")
    return json.dumps(answer(schema, request)) if schema else "A word or two."


def answer(schema: Json, request: Json) -> Any:
    said = json.dumps(request["messages"])
    prompts = [str(m["content"]) for m in request["messages"] if m["role"] == "user"]
    prompt = prompts[0] if prompts else ""
    person = re.search(r"(\w+(?: [A-Z]\w+)?) is \d+", prompt)
    word = person[1] if person else "A word or two"
    number = re.search(r"\d+", prompt)
    # What a validator complained of comes back with the next try.
    word = word.upper() if "uppercase" in said else word
    return value(schema, schema.get("$defs", {}), word, int(number[0]) if number else 1)


def value(schema: Json, definitions: Json, word: str, number: int) -> Any:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if "enum" in schema or "const" in schema:
        return schema["enum"][0] if "enum" in schema else schema["const"]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return value(schema[several][0], definitions, word, number)
    kind = schema.get("type", "object")
    if kind == "object":
        properties = schema.get("properties", {}).items()
        return {name: value(part, definitions, word, number) for name, part in properties}
    if kind == "array":
        return [value(schema.get("items", {}), definitions, word, number) for _ in range(_ITEMS)]
    scalars = {"integer": number, "number": number, "boolean": True, "null": None}
    return scalars.get(kind, word)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization", "").endswith(_WRONG_KEY):
            self._send(401, {"error": {"message": "a wrong key", "type": "invalid_request_error"}})
        elif self.path.endswith("/chat/completions") and request.get("stream"):
            self._stream(chunks(request))
        elif self.path.endswith("/chat/completions"):
            self._send(200, chat(request))
        elif self.path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            self._send(
                200,
                {"object": "list", "data": [vector], "model": request["model"], "usage": usage},
            )
        else:
            self._send(404, {"error": {"message": "not here", "type": "invalid_request_error"}})

    def _send(self, status: int, body: Json) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, events: Iterator[Json]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args: object) -> None: ...


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()

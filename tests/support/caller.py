"""What programs in processes of their own are made of: an instrumented client whose calls are counted."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import instructor
import openai
from instructor.cache import AutoCache

from llm_cache_otel import instrument
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.rates import PriceTable
from support.models import DictCache, User

MODEL = "gpt-4.1-mini"
Answer = Callable[[httpx.Request], httpx.Response]

UNSHARED = httpx.Limits(max_keepalive_connections=0)
"""Connections that are kept would be shared by a parent and its children."""


def request_for(prompt: object, model: type[User] = User) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Who is {prompt}?"}]
    return {"response_model": model, "messages": messages}


def answer(request: httpx.Request) -> httpx.Response:
    """A provider's, from within the process: no connection, and no lock that a fork could catch."""
    tool = json.loads(request.content)["tools"][0]["function"]["name"]
    function = {"name": tool, "arguments": json.dumps({"name": "Ada", "age": 36})}
    call = {"id": "1", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    completion = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx.Response(200, json={**completion, "choices": [choice]})


def noted_answer(request: httpx.Request) -> httpx.Response:
    tally("asked")
    return answer(request)


def bare_client(*, alone: bool = False, answer: Answer = noted_answer) -> instructor.Instructor:
    """One that nobody observes.

    Of its own locks a child that is forked while another thread calls may find some held. With `alone=True`
    it has none, and answers itself.
    """
    http_client = httpx.Client(
        transport=httpx.MockTransport(answer) if alone else None, limits=UNSHARED
    )
    sdk = openai.OpenAI(max_retries=0, timeout=30, http_client=http_client)
    cache = DictCache() if alone else AutoCache(maxsize=1000)
    return instructor.from_openai(sdk, model=MODEL, cache=cache)


def import_all() -> None:
    """Import what a first call does besides, most of it by Instructor, and make children cheap.

    For a module that another thread is importing when it is forked, a child waits for ever.
    """
    from opentelemetry.exporter.otlp.proto.grpc import metric_exporter, trace_exporter  # noqa: F401
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: F401
        metric_exporter as http_metric_exporter,
    )
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: F401
        trace_exporter as http_trace_exporter,
    )

    Prices({}, {}, PriceTable.BUNDLED).load()
    bare_client(alone=True, answer=answer).create(**request_for("nothing"))
    gc.freeze()  # or every child that exits takes a second to let go of all these modules


class Caller:
    """Each call, once it has returned, is a line in the file that `TALLY` names."""

    def __init__(self, *, alone: bool = False) -> None:
        self.client = instrument(bare_client(alone=alone))

    def __call__(self, *prompts: object) -> None:
        for prompt in prompts:
            self.client.create(**request_for(prompt))
            tally("call")


class AsyncCaller:
    def __init__(self) -> None:
        http_client = httpx.AsyncClient(limits=UNSHARED)
        sdk = openai.AsyncOpenAI(max_retries=0, timeout=30, http_client=http_client)
        cache = AutoCache(maxsize=1000)
        self.client = instrument(instructor.from_openai(sdk, model=MODEL, cache=cache))

    async def __call__(self, *prompts: object) -> None:
        for prompt in prompts:
            await self.client.create(**request_for(prompt))
            tally("call")


def tally(what: str) -> None:
    """Append a line; whole, whoever else does."""
    if "TALLY" not in os.environ:
        return
    file = os.open(os.environ["TALLY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{what} {os.getpid()}\n".encode())
    finally:
        os.close(file)


def read_tally(file: Path) -> Counter[tuple[str, int]]:
    """How often each process noted what."""
    lines = (line.split() for line in file.read_text().splitlines())
    return Counter((what, int(process)) for what, process in lines)

"""Applications that servers of test_servers.py run: each request is a call, its path the prompt.

The first call is made by whoever imports this: under `gunicorn --preload` that is a parent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from llm_cache_otel import flush
from support.caller import AsyncCaller, Caller

caller = Caller()
caller("the first")
async_caller = AsyncCaller()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    caller(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]


async def serve(request: Request) -> Response:
    await async_caller(request.url.path)
    return PlainTextResponse("served")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    yield
    if "FLUSH" in os.environ:
        assert flush(10)


asgi = Starlette(routes=[Route("/{prompt}", serve)], lifespan=lifespan)

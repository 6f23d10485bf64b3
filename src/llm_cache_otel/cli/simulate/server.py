"""The simulated provider's server, run in a thread of this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_cache_otel.cli.serving import ThreadedServer
from llm_cache_otel.cli.simulate import anthropic_api, bedrock_api, gemini_api, openai_api
from llm_cache_otel.cli.simulate.cues import Cue, Cues
from llm_cache_otel.cli.simulate.diagnosis import EarlierMessages
from llm_cache_otel.cli.simulate.exchange import BadRequest, Exchange, Json
from llm_cache_otel.cli.simulate.ledger import Ledger
from llm_cache_otel.cli.simulate.prompt_cache import RETENTION, PromptCache

_NO_MODEL = Cue(status=400, message="the request is no JSON that names a model")

Speak = Callable[[Exchange], Response]


class SimulatedProvider:
    """Serves on a loopback port: `with SimulatedProvider() as provider: provider.openai_url`.

    `latency` is how many seconds a request takes when no cue says otherwise, `port` 0 any free one.
    `ledger` has what was asked and answered, and what that took; `cues` what to do with the requests to come.
    `clock`, in seconds, is what the prompt cache forgets by, after `retention` of them.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        retention: float = RETENTION,
    ) -> None:
        self.ledger = Ledger()
        self.cues = Cues(default=Cue(delay=latency))
        self.prompt_cache = PromptCache(clock, retention)
        self._earlier = EarlierMessages()
        routes = [
            self._route("/v1/chat/completions", openai_api.chat_completions, openai_api.error),
            self._route("/v1/responses", openai_api.responses, openai_api.error),
            self._route(
                "/openai/deployments/{model}/chat/completions",
                openai_api.chat_completions,
                openai_api.error,
            ),
            self._route("/v1/messages", anthropic_api.messages, anthropic_api.error),
            self._route(
                "/{version:str}/models/{model}:generateContent",
                gemini_api.generate_content,
                gemini_api.error,
            ),
            self._route(
                "/{version:str}/models/{model}:streamGenerateContent",
                gemini_api.stream_generate_content,
                gemini_api.error,
            ),
            self._route("/model/{model:path}/converse", bedrock_api.converse, bedrock_api.error),
        ]
        self._server = ThreadedServer(Starlette(routes=routes), port=port)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def openai_url(self) -> str:
        """What `base_url` or `OPENAI_BASE_URL` has to be."""
        return f"{self.url}/v1"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _route(self, path: str, speak: Speak, error: Speak) -> Route:
        async def endpoint(request: Request) -> Response:
            self.ledger.count_request()
            body = await _json_object(request)
            model = request.path_params.get("model") or body.get("model", "")
            cue = self.cues.next() if model else _NO_MODEL
            exchange = Exchange(body, model, cue, self.prompt_cache, self._earlier, self.ledger)
            if exchange.cue.delay:
                await asyncio.sleep(exchange.cue.delay)
            if exchange.cue.status != 200:
                return error(exchange)
            try:
                return speak(exchange)
            except BadRequest as refusal:
                message = str(refusal)
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as trouble:
                message = f"the simulated provider can't read this request: {trouble!r}"
            return error(replace(exchange, cue=Cue(status=400, message=message)))

        return Route(path, endpoint, methods=["POST"])


async def _json_object(request: Request) -> Json:
    try:
        body = await request.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}

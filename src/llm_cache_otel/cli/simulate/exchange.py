"""One request to the simulated provider, whichever format it came in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from llm_cache_otel.cli.simulate.answers import Schema, answer_for, schema_in
from llm_cache_otel.cli.simulate.cues import Cue
from llm_cache_otel.cli.simulate.diagnosis import EarlierMessages
from llm_cache_otel.cli.simulate.ledger import Ledger, Used
from llm_cache_otel.cli.simulate.prompt_cache import Input, PromptCache, tokens

_CHUNK = 12

Json = dict[str, Any]


class BadRequest(ValueError):
    """What a real provider refuses too; its message is the answer's."""


@dataclass(frozen=True)
class Exchange:
    """The request's body, the cue for it, and what the provider keeps."""

    body: Json
    model: str
    cue: Cue
    cache: PromptCache
    earlier: EarlierMessages
    ledger: Ledger

    @property
    def digest(self) -> str:
        """The same for the same request: seeds the answer and makes ids."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:24]

    def answer(self, schema: Schema | None) -> str:
        """The answer as JSON text, or prose where the request asks for no structure.

        Instructor's JSON modes say the schema in the prompt.
        """
        if self.cue.answer is not None:
            return json.dumps(self.cue.answer)
        if not schema or schema == {"type": "object"}:
            schema = schema_in(self.body) or schema
        if schema is None:
            return f"A simulated answer, {self.digest[:8]}."
        return json.dumps(answer_for(schema, self.digest))

    def billed(self, read: Input, answer: str) -> Used:
        """What the exchange takes, once it is on the bill."""
        used = Used(read, tokens(len(answer)))
        self.ledger.bill(self.model, used)
        return used

    def error(self, body: Json, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse(body, status_code=self.cue.status, headers=headers)

    async def stream(self, events: Iterable[str]) -> AsyncIterator[str]:
        """Events as a body, with the cue's delays, up to where it breaks off."""
        for number, event in enumerate(events):
            if self.cue.break_after is not None and number >= self.cue.break_after:
                raise ConnectionError("broken off on cue")
            if self.cue.chunk_delay:
                await asyncio.sleep(self.cue.chunk_delay)
            yield event

    def event_stream(self, events: Iterable[str]) -> Response:
        return StreamingResponse(self.stream(events), media_type="text/event-stream")


def chunks(text: str) -> list[str]:
    return [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]


def written(part: Any) -> str:
    """A part of a request as it counts in a prompt."""
    return json.dumps(part, sort_keys=True)


def server_sent(data: Json, event: str | None = None) -> str:
    head = "" if event is None else f"event: {event}\n"
    return f"{head}data: {json.dumps(data)}\n\n"

"""Instrumented clients that say of each request whether it hit, or else why not."""

from __future__ import annotations

import contextlib
from typing import Any

import instructor
import openai

from llm_cache_otel import instrument
from llm_cache_otel.observe import instructor_api
from support.corpus import Asked
from support.recording import Recording
from support.versions import max_retries


class Clients:
    """One instrumented client for each mode and key, all with one cache; made when it is asked for.

    `parts` are what is said to have changed, for the request that was asked last, if it is more than one.
    """

    def __init__(self, base_url: str, cache: Any) -> None:
        self._base_url = base_url
        self._cache = cache
        self._made: dict[tuple[str, str], tuple[Any, Recording]] = {}
        self.ttl: int | None = None
        self.parts: list[str] = []

    def ask(self, asked: Asked) -> str:
        """What its span says of it: `hit`, or the reason of a miss."""
        client, recording = self.prepare(asked)
        recording.clear()
        ttl = {} if self.ttl is None else {"cache_ttl": self.ttl}
        with contextlib.suppress(instructor_api.InstructorRetryException):
            client.create(**asked.arguments(), **ttl, max_retries=max_retries(attempts=1))
        [span] = [span for span in recording.spans() if span.name.startswith("create")]
        assert span.attributes is not None
        parts: Any = span.attributes.get("llm_cache.divergence.parts", ())
        self.parts = list(parts)
        if span.attributes["llm_cache.outcome"] == "hit":
            assert "llm_cache.reason" not in span.attributes
            return "hit"
        assert span.attributes["llm_cache.outcome"] == "miss"
        return str(span.attributes.get("llm_cache.reason"))

    def prepare(self, asked: Asked) -> tuple[Any, Recording]:
        mode, key = asked.mode, asked.client
        if (mode, key) not in self._made:
            sdk = openai.OpenAI(base_url=self._base_url, api_key=key, max_retries=0)
            recording = Recording()
            client = instructor.from_openai(sdk, mode=instructor.Mode[mode], cache=self._cache)
            self._made[mode, key] = instrument(client, **recording.providers), recording
        return self._made[mode, key]

    def close(self) -> None:
        for client, _ in self._made.values():
            client.client.close()

"""Attribute values and span names do not grow without bound, whatever the program does."""

from __future__ import annotations

from typing import Any

from instructor.cache import AutoCache
from pydantic import create_model
from support.models import MESSAGES, User
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider


def test_past_100_models_they_are_others(provider: SimulatedProvider, recording: Recording) -> None:
    client = instrument(make_client(provider, cache=AutoCache(maxsize=9)), **recording.providers)
    for number in range(120):
        client.create(model=f"model-{number}", messages=MESSAGES, response_model=User)
    client.client.close()
    models = recording.sums("llm_cache.requests", "gen_ai.request.model")
    assert len(models) == 101
    assert models["_OTHER"] == 20
    spans = recording.spans("create User")
    assert len({span.attributes["gen_ai.request.model"] for span in spans}) == 120


def test_past_100_response_models_the_span_is_a_plain_create(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(make_client(provider, cache=AutoCache(maxsize=9)), **recording.providers)
    for number in range(120):
        answer: Any = create_model(f"Answer{number}", text=(str, ...))
        client.create(model="m", messages=MESSAGES, response_model=answer)
    client.client.close()
    names = [span.name for span in recording.spans() if span.name.startswith("create")]
    assert len(set(names)) == 101
    assert names.count("create") == 20
    assert recording.sums("llm_cache.schema.info", "nothing") == {None: 100}

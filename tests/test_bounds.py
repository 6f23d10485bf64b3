"""Attribute values and span names do not grow without bound, whatever the program does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from instructor.cache import AutoCache
from pydantic import create_model
from support.models import MESSAGES, User
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instrument, reporter
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit import names
from llm_cache_otel.later import later
from llm_cache_otel.observe import response_model


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


@pytest.mark.parametrize("parts", ["a text", "several parts"])
def test_prompts_that_wait_are_bounded_together(
    parts: str, provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an exporter holds up the thread that tells them: of as many, no longer ones are read."""
    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)

    def ask(question: str) -> None:
        text = question + 8_000 * "x"
        content = text if parts == "a text" else [{"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        client.create(model=MODEL, messages=messages, response_model=User)

    ask("first")
    recording.clear()
    monkeypatch.setattr(reporter, "_FEW", 1)
    monkeypatch.setattr(reporter, "_MOST_TEXT", 20_000)
    with later._doing:
        for number in range(6):
            ask(str(number))
    client.client.close()
    why = [span.attributes[names.PROMPT_REASON] for span in recording.spans(f"chat {MODEL}")]
    assert [reason == "unexplained" for reason in why] == 3 * [False] + 3 * [True]
    assert len(recording.spans("create User")) == 6


def _made(number: int) -> Any:
    return create_model("Answer", text=(str, ...), **{f"field_{number % 7}": (int, ...)})


def test_a_class_for_each_call_is_not_remembered_beyond_it() -> None:
    """10,000 of them: what is remembered by class goes with it."""
    gc.collect()
    before = len(response_model._schema_digests)
    digests, alive = set(), list[weakref.ref[Any]]()
    for number in range(10_000):
        answer = _made(number)
        digests.add(response_model.whole_schema_digest(answer))
        alive.append(weakref.ref(answer))
        if number % 1_000 == 999:
            del answer
            gc.collect()
            assert sum(each() is not None for each in alive) == 0
            assert len(response_model._schema_digests) == before
    assert len(digests) == 7, "though all are called the same"


def _classes_that_live_on(provider: SimulatedProvider, observe: Callable[[Any], Any]) -> int:
    """Of those that calls are made with, hits, misses and streams: those that somebody holds on to."""
    client = observe(make_client(provider, cache=AutoCache(maxsize=9)))
    alive: list[weakref.ref[Any]] = []
    for number in range(600):
        answer = _made(number)
        client.create(model="m", messages=MESSAGES, response_model=answer)
        client.create(model="m", messages=MESSAGES, response_model=answer)
        if number % 10 == 0:
            list(client.create_partial(model="m", messages=MESSAGES, response_model=answer))
        alive.append(weakref.ref(answer))
    del answer
    client.client.close()
    gc.collect()
    return sum(each() is not None for each in alive)


def test_no_class_is_held_on_to_that_instructor_lets_go(
    provider: SimulatedProvider, recording: Recording
) -> None:
    bare = _classes_that_live_on(provider, lambda client: client)
    assert bare < 600, "Instructor's own memory is bounded, or this could not fail"
    ours = _classes_that_live_on(provider, lambda client: instrument(client, **recording.providers))
    assert ours <= bare

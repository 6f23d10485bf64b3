"""Many callers at once: counts agree with the provider's to the unit, and every span is at home."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from instructor.cache import AutoCache
from opentelemetry.trace import Tracer
from support.models import User
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider

PROMPTS = 40


def request_for(prompt: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"prompt number {prompt}"}]
    return {"model": MODEL, "messages": messages, "response_model": User}


def check(recording: Recording, calls: int, answered: int) -> None:
    """Hits + misses = calls, misses = answers of the provider, and no span has a foreign parent."""
    spans = recording.spans()
    callers = {span.context.span_id: span for span in spans if span.name == "caller"}
    creates = {span.context.span_id: span for span in spans if span.name == "create User"}
    assert len(creates) == len(callers) == calls
    assert {span.parent.span_id for span in creates.values()} == set(callers)
    for span in creates.values():
        assert span.context.trace_id == callers[span.parent.span_id].context.trace_id
    children: dict[int, list[str]] = {span_id: [] for span_id in creates}
    for span in spans:
        if span.name not in ("caller", "create User"):
            assert span.context.trace_id == creates[span.parent.span_id].context.trace_id
            children[span.parent.span_id].append(span.name)
    for span_id, create in creates.items():
        missed = create.attributes["llm_cache.outcome"] == "miss"
        expected = ["cache lookup", f"chat {MODEL}", "cache store"] if missed else []
        assert sorted(children[span_id]) == sorted(expected)
    outcomes = recording.sums("llm_cache.requests", "llm_cache.outcome")
    assert sum(outcomes.values()) == calls
    assert outcomes["miss"] == answered
    assert outcomes["hit"] == calls - answered


def test_32_threads_over_one_client_and_one_cache(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = make_client(provider, cache=AutoCache(maxsize=1000))
    instrument(client, **recording.providers)
    tracer: Tracer = recording.tracer_provider.get_tracer("host")
    start = threading.Barrier(32)
    before = provider.ledger.answers[MODEL]

    def worker(seed: int) -> None:
        rng = random.Random(seed)
        start.wait()
        for _ in range(25):
            with tracer.start_as_current_span("caller"):
                client.create(**request_for(rng.randrange(PROMPTS)))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(worker, range(32)))
    client.client.close()
    check(recording, 32 * 25, provider.ledger.answers[MODEL] - before)


def test_500_tasks_over_one_client_and_one_cache(
    provider: SimulatedProvider, recording: Recording
) -> None:
    tracer: Tracer = recording.tracer_provider.get_tracer("host")
    before = provider.ledger.answers[MODEL]

    async def run() -> None:
        client = make_client(provider, asynchronous=True, cache=AutoCache(maxsize=1000))
        instrument(client, **recording.providers)

        async def worker(number: int) -> None:
            for step in range(2):
                with tracer.start_as_current_span("caller"):
                    await client.create(**request_for((number * 7 + step) % PROMPTS))

        await asyncio.gather(*(worker(number) for number in range(500)))
        await client.client.close()

    asyncio.run(run())
    check(recording, 1000, provider.ledger.answers[MODEL] - before)


def test_instrumenting_and_uninstrumenting_while_others_call(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """Nothing breaks, and a client that stays instrumented loses no call."""
    steady = instrument(
        make_client(provider, cache=AutoCache()), name="steady", **recording.providers
    )
    stop = threading.Event()

    def flicker() -> None:
        from llm_cache_otel import uninstrument

        client = make_client(provider)
        while not stop.is_set():
            instrument(client, name="flickering", **recording.providers)
            client.create(**request_for(1))
            uninstrument(client)
        client.client.close()

    thread = threading.Thread(target=flicker)
    thread.start()
    for number in range(100):
        steady.create(**request_for(number % PROMPTS))
    stop.set()
    thread.join()
    steady.client.close()
    creates = [
        span
        for span in recording.spans("create User")
        if span.attributes.get("llm_cache.name") == "steady"
    ]
    outcomes = [span.attributes["llm_cache.outcome"] for span in creates]
    assert len(outcomes) == 100
    assert outcomes.count("miss") == PROMPTS

"""The SDKs by themselves, beside other instrumentations: an inference is told once there, too."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from support.company import (
    ANTHROPIC,
    DURATION,
    GENAI,
    NEIGHBOURS,
    OPENAI,
    OURS,
    RESPONSES,
    _restored,
    is_inference,
)
from support.recording import Recording
from support.sdk_ways import KINDS, close

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.later import later

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the neighbours' own

_NAMES = {OPENAI: "openai", RESPONSES: "openai responses", ANTHROPIC: "anthropic", GENAI: "genai"}
CASES = [
    pytest.param(name, _NAMES[kind], order, id=f"{name}, {_NAMES[kind]}, {order}")
    for name, neighbour in NEIGHBOURS.items()
    for kind in neighbour.kinds
    for order in ("NCO", "CNO", "CON")
    if kind in _NAMES
    if name != "OpenInference Instructor"  # which wraps Instructor's functions
    if not neighbour.own_spans
    if not neighbour.on_client or order.index("C") < order.index("N")
]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "kind", "order"), CASES)
@pytest.mark.parametrize("way", ["create", "streamed"])
def test_an_inference_is_told_once(
    name: str,
    kind: str,
    order: str,
    asynchronous: bool,
    way: str,
    provider: SimulatedProvider,
    recording: Recording,
) -> None:
    sdk = KINDS["genai, async" if kind == "genai" and asynchronous else kind]
    if (name, way) == ("OpenTelemetry genai-anthropic", "streamed"):
        pytest.skip("it fails of itself on this SDK's streams, with us or without")
    way = "stream" if kind == "genai" and way == "streamed" else way
    neighbour = NEIGHBOURS[name]

    async def run() -> int:
        made = neighbour.providers(recording)
        providers = {each: made[each] for each in recording.providers}
        client: Any = None
        undo: Any = None
        for event in order:
            if event == "C":
                client = sdk.make(provider.url, asynchronous)
            elif event == "N":
                undo = neighbour.install(made, client)
            else:
                instrument(client, **providers)
        before = provider.ledger.requests
        answer = await sdk.ways[way](client, sdk.request("Be brief.", "Who?"))
        assert answer
        uninstrument(client)
        undo()
        await close(client)
        return provider.ledger.requests - before

    with _restored():
        asked = asyncio.run(run())
    gc.collect()
    assert later.wait(5)
    assert asked == 1
    spans = recording.spans()
    inferences = [span for span in spans if is_inference(span)]
    assert len(inferences) == 1, [(span.instrumentation_scope.name, span.name) for span in spans]
    creates = [span for span in spans if span.instrumentation_scope.name == OURS]
    creates = [span for span in creates if span.name == "create"]
    if name.startswith("Logfire") and order == "CON":
        assert creates == [], (
            "it suppresses what is within its own, and ours is, where it comes after"
        )
        return
    assert len(creates) == 1
    if inferences[0].instrumentation_scope.name != OURS:
        assert creates[0].attributes["llm_cache.prompt.outcome"]
    durations = recording.sums(DURATION, "error.type")
    assert sum(durations.values()) == 1
    counted = recording.sums("llm_cache.requests", "llm_cache.outcome")
    assert counted in ({}, {"off": 1})  # the durations' reading has drained them

"""Who is measured, how each is set up, and what each must have exported for a call to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from instructor import Instructor
from openinference.instrumentation.instructor import InstructorInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as GenAI
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry

from bench.race import OUTAGES
from bench.telemetry import Exported
from bench.workload import MODEL, Case, Provider
from llm_cache_otel import instrument
from llm_cache_otel.emit import names


class Flushable(Protocol):
    def force_flush(self, timeout_millis: int = ...) -> bool: ...


@dataclass(frozen=True)
class Contender:
    """`set_up` gives the client, and the OpenTelemetry providers to flush when a round ends.

    `spans` names the spans that one call of a case must export; `counts_outcomes` is whether hits
    and misses must stand in the metrics too.
    """

    set_up: Callable[[Provider, Exported], tuple[Instructor, Sequence[Flushable]]]
    spans: dict[Case, tuple[str, ...]]
    counts_outcomes: bool = False


def _bare(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    return provider.client(), ()


def _ours(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    client = instrument(provider.client(), tracer_provider=tracers, meter_provider=meters)
    return client, (tracers, meters)


def _peer(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    tracers = exported.tracer_provider()
    InstructorInstrumentor().instrument(tracer_provider=tracers)  # before the client is made
    return provider.client(), (tracers,)


def _openllmetry(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    OpenLLMetry().instrument(tracer_provider=tracers, meter_provider=meters)
    return provider.client(), (tracers, meters)


def _genai(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    GenAI().instrument(tracer_provider=tracers, meter_provider=meters)  # type: ignore[no-untyped-call]
    return provider.client(), (tracers, meters)


def _private(provider: Provider, exported: Exported) -> tuple[Instructor, Sequence[Flushable]]:
    """Through a pipeline of llm-cache-otel's own, to where the environment says; nothing waits for it."""
    return instrument(provider.client()), ()


_CREATE = f"{names.CREATE} Ticket"
_OURS_SPANS: dict[Case, tuple[str, ...]] = {
    "hit": (_CREATE, names.CACHE_LOOKUP),
    "miss": (_CREATE, names.CACHE_LOOKUP, f"chat {MODEL}", names.CACHE_STORE),
}
_PEER_SPANS: dict[Case, tuple[str, ...]] = {
    "hit": ("instructor.create",),
    "miss": ("instructor.create",),
}
_OPENLLMETRY_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": ("openai.chat",)}
_GENAI_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": (f"chat {MODEL}",)}
_NO_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": ()}

SET_UPS = {
    "bare": Contender(_bare, _NO_SPANS),
    "bare again": Contender(_bare, _NO_SPANS),
    "llm-cache-otel": Contender(_ours, _OURS_SPANS, counts_outcomes=True),
    "openinference": Contender(_peer, _PEER_SPANS),
    "openllmetry (openai)": Contender(_openllmetry, _OPENLLMETRY_SPANS),
    "genai-openai": Contender(_genai, _GENAI_SPANS),
    **dict.fromkeys(OUTAGES, Contender(_private, _NO_SPANS)),
}

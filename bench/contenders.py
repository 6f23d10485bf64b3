"""Who is measured, how each is set up, and what each must have exported for a call to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openinference.instrumentation.instructor import InstructorInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as GenAI
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from bench.floor import Later, teller, told
from bench.names import BARE, FLOOR, OURS, OUTAGES, UNSAMPLED, WRAPPED, WRAPPED_UNSAMPLED
from bench.telemetry import Exported
from bench.workload import MODEL, Case
from bench.wrappers import see_client, see_inside
from llm_cache_otel import instrument
from llm_cache_otel.emit import names


class Flushable(Protocol):
    def force_flush(self, timeout_millis: int = ...) -> object: ...


Make = Callable[..., Any]
"""Makes an Instructor client, as `Provider.client` and `Provider.async_client` do."""


@dataclass(frozen=True)
class Contender:
    """`set_up` gives how clients are made now, and what to flush when a round ends.

    `spans` names the spans that one call of a case must export, `not_in_memory` those beside of a hit whose
    entry is elsewhere; `counts_outcomes` is whether hits and misses must stand in the metrics too.
    """

    set_up: Callable[[Make, Exported], tuple[Make, Sequence[Flushable]]]
    spans: dict[Case, tuple[str, ...]]
    counts_outcomes: bool = False
    not_in_memory: tuple[str, ...] = ()


def _bare(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return make, ()


def _ours(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return _instrumented(make, exported.tracer_provider(), exported.meter_provider())


def _unsampled(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return _instrumented(make, exported.tracer_provider(ALWAYS_OFF), exported.meter_provider())


def _instrumented(
    make: Make, tracers: TracerProvider, meters: MeterProvider
) -> tuple[Make, Sequence[Flushable]]:
    def watched(*args: Any) -> Any:
        return instrument(make(*args), tracer_provider=tracers, meter_provider=meters)

    return watched, (tracers, meters)


def _floor(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return _told_by_the_sdk(make, exported, exported.tracer_provider(), lambda tell: tell())


def _wrapped(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return _seen(make, exported, exported.tracer_provider(), sampled=True)


def _wrapped_unsampled(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    return _seen(make, exported, exported.tracer_provider(ALWAYS_OFF), sampled=False)


def _seen(
    make: Make, exported: Exported, tracers: TracerProvider, *, sampled: bool
) -> tuple[Make, Sequence[Flushable]]:
    later = Later()
    made, to_flush = _told_by_the_sdk(make, exported, tracers, later.put)
    see_inside()
    return lambda *args: see_client(made(*args), sampled=sampled), (later, *to_flush)


def _told_by_the_sdk(
    make: Make,
    exported: Exported,
    tracers: TracerProvider,
    do: Callable[[Callable[[], None]], None],
) -> tuple[Make, Sequence[Flushable]]:
    meters = exported.meter_provider()
    tellers = {case: teller(one, tracers, meters) for case, one in told(make).items()}
    provider: Any = make.__self__  # type: ignore[attr-defined]  # the workload's, which counts

    def made(*args: Any) -> Any:
        client = make(*args)
        create = client.create

        def told_of(**request: Any) -> Any:
            requests = provider.requests
            answer = create(**request)
            do(tellers["hit" if provider.requests == requests else "miss"])
            return answer

        client.create = told_of
        return client

    return made, (tracers, meters)


def _openinference(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    tracers = exported.tracer_provider()
    InstructorInstrumentor().instrument(tracer_provider=tracers)  # before a client is made
    return make, (tracers,)


def _openllmetry(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    OpenLLMetry().instrument(tracer_provider=tracers, meter_provider=meters)
    return make, (tracers, meters)


def _genai(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    tracers, meters = exported.tracer_provider(), exported.meter_provider()
    GenAI().instrument(tracer_provider=tracers, meter_provider=meters)  # type: ignore[no-untyped-call]
    return make, (tracers, meters)


def _cachelens(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    """What cachelens wraps is no `OpenAI`, which `from_openai` refuses; so only the method is put in place.

    cachelens reports when the program ends, and so encodes nothing in a round; what it keeps of each call
    is counted as a span would be.
    """
    import cache_lens

    sessions: list[Any] = []

    def prepare(sdk_client: Any) -> None:
        wrapped = cache_lens.wrap(sdk_client, terminal_report=False)
        sessions.append(object.__getattribute__(wrapped, "_cl_session"))
        sdk_client.chat.completions.create = wrapped.chat.completions.create

    class Kept:
        def force_flush(self, timeout_millis: int = 0) -> None:
            exported.spans[_CAPTURE] = sum(len(session.captures) for session in sessions)

    return lambda *args: make(*args, prepare), (Kept(),)


def _private(make: Make, exported: Exported) -> tuple[Make, Sequence[Flushable]]:
    """Through a pipeline of llm-cache-otel's own, to where the environment says; nothing waits for it."""
    return lambda *args: instrument(make(*args)), ()


_CAPTURE = "a capture of cachelens"
_CREATE = f"{names.CREATE} Ticket"
_OURS_SPANS: dict[Case, tuple[str, ...]] = {
    "hit": (_CREATE,),
    "miss": (_CREATE, names.CACHE_LOOKUP, f"chat {MODEL}", names.CACHE_STORE),
}
_PEER_SPANS: dict[Case, tuple[str, ...]] = {
    "hit": ("instructor.create",),
    "miss": ("instructor.create",),
}
_OPENLLMETRY_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": ("openai.chat",)}
_GENAI_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": (f"chat {MODEL}",)}
_NO_SPANS: dict[Case, tuple[str, ...]] = {"hit": (), "miss": ()}

_CACHELENS_CAPTURES: dict[Case, tuple[str, ...]] = {"hit": (), "miss": (_CAPTURE,)}

SET_UPS = {
    BARE: Contender(_bare, _NO_SPANS),
    OURS: Contender(_ours, _OURS_SPANS, counts_outcomes=True, not_in_memory=(names.CACHE_LOOKUP,)),
    UNSAMPLED: Contender(_unsampled, _NO_SPANS, counts_outcomes=True),
    FLOOR: Contender(_floor, _OURS_SPANS, counts_outcomes=True),
    WRAPPED: Contender(_wrapped, _OURS_SPANS, counts_outcomes=True),
    WRAPPED_UNSAMPLED: Contender(_wrapped_unsampled, _NO_SPANS, counts_outcomes=True),
    "openinference": Contender(_openinference, _PEER_SPANS),
    "openllmetry (openai)": Contender(_openllmetry, _OPENLLMETRY_SPANS),
    "genai-openai": Contender(_genai, _GENAI_SPANS),
    "cachelens": Contender(_cachelens, _CACHELENS_CAPTURES),
    **dict.fromkeys(OUTAGES, Contender(_private, _NO_SPANS)),
}

"""Spans that a sampler is certain to drop are not made: nothing else changes but what they hid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, Span, SpanContext, TraceFlags
from pydantic import BaseModel, field_validator
from support.models import MESSAGES
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.emit import signals
from llm_cache_otel.emit.dropping import Dropping
from llm_cache_otel.later import later

Around = Callable[[], AbstractContextManager[Any]]
around_it: list[Span] = []


class Seen(BaseModel):
    """Whose validator looks at the span that is current: once for a miss, and once for a hit."""

    name: str
    age: int

    @field_validator("name")
    @classmethod
    def look(cls, name: str) -> str:
        around_it.append(trace.get_current_span())
        return name


def of(is_sampled: bool, *, is_remote: bool) -> Span:
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(7, 8, is_remote=is_remote, trace_flags=flags))


def within(span: Any) -> Around:
    return lambda: trace.use_span(span)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(autouse=True)
def nothing_seen(provider: SimulatedProvider) -> Iterator[None]:
    provider.cues.default = Cue(answer={"name": "Ada", "age": 36})
    yield
    around_it.clear()


def told(provider: SimulatedProvider, tracers: Any, around: Around = nullcontext) -> list[str]:
    """A miss and a hit, and what is counted of them."""
    recording = Recording()
    client = instrument(
        make_client(provider, cache=AutoCache()),
        tracer_provider=tracers,
        meter_provider=recording.meter_provider,
    )
    for _ in range(2):
        with around():
            client.create(model=MODEL, messages=MESSAGES, response_model=Seen)
    client.client.close()
    later.wait(10)
    points = recording.points()
    recording.meter_provider.shutdown()
    # A hit that took long has saved no time.
    return [point for point in points if not point.startswith("llm_cache.saved.duration")]


def sampling(sampler: Sampler, exporter: InMemorySpanExporter) -> TracerProvider:
    tracers = TracerProvider(sampler, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    return tracers


DROPPED = {
    "off": (ALWAYS_OFF, nullcontext),
    "off, in a sampled span": (ALWAYS_OFF, within(of(True, is_remote=False))),
    "off, as the parent": (DEFAULT_OFF, nullcontext),
    "in a span that is not sampled": (DEFAULT_ON, within(of(False, is_remote=False))),
    "called by a service that does not sample": (DEFAULT_ON, within(of(False, is_remote=True))),
    "a tenth, as the environment has it": (
        ParentBasedTraceIdRatio(0.1),
        within(of(False, is_remote=False)),
    ),
}
KEPT = {
    "on": (ALWAYS_ON, nullcontext),
    "on, in a span that is not sampled": (ALWAYS_ON, within(of(False, is_remote=False))),
    "as the parent": (DEFAULT_ON, nullcontext),
    "in a sampled span": (DEFAULT_ON, within(of(True, is_remote=False))),
    "called by a service that samples": (DEFAULT_OFF, within(of(True, is_remote=True))),
    "its own say of unsampled parents": (
        ParentBased(
            ALWAYS_OFF, local_parent_not_sampled=ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON
        ),
        within(of(False, is_remote=False)),
    ),
}


@pytest.mark.parametrize(("sampler", "around"), DROPPED.values(), ids=DROPPED)
def test_what_is_dropped_stands_between_nobody_and_is_counted_all_the_same(
    sampler: Sampler, around: Around, provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    started: list[str] = []
    tracers = sampling(sampler, exporter)
    start = tracers.id_generator.generate_span_id
    tracers.id_generator.generate_span_id = lambda: started.append("one") or start()  # type: ignore[method-assign]
    counted = told(provider, tracers, around)
    assert exporter.get_finished_spans() == ()
    assert started == []
    with around():
        outside = trace.get_current_span()
    assert [span.get_span_context() for span in around_it] == [outside.get_span_context()] * 2
    assert not any(type(span).__module__.startswith("llm_cache_otel") for span in around_it)
    assert counted == told(provider, sampling(ALWAYS_ON, InMemorySpanExporter()))


@pytest.mark.parametrize(("sampler", "around"), KEPT.values(), ids=KEPT)
def test_what_may_be_kept_is_made(
    sampler: Sampler, around: Around, provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    told(provider, sampling(sampler, exporter), around)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans].count("create Seen") == 2
    ours = {span.context.span_id for span in spans}
    assert {span.get_span_context().span_id for span in around_it} <= ours


def test_nothing_is_made_where_spans_go_nowhere(provider: SimulatedProvider) -> None:
    counted = told(provider, NoOpTracerProvider())
    assert [span.get_span_context().is_valid for span in around_it] == [False, False]
    assert counted == told(provider, sampling(ALWAYS_ON, InMemorySpanExporter()))


def test_the_applications_own_spans_are_not_lost_with_ours(
    provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    """It samples its requests; ours it has sent to a provider that drops them all."""
    application = sampling(DEFAULT_ON, exporter)
    tracer = application.get_tracer("shop")

    class Priced(Seen):
        @field_validator("name")
        @classmethod
        def price(cls, name: str) -> str:
            with tracer.start_as_current_span("price"):
                return name

    client = instrument(
        make_client(provider, cache=AutoCache()),
        tracer_provider=sampling(ALWAYS_OFF, InMemorySpanExporter()),
        meter_provider=NoOpMeterProvider(),
    )
    with tracer.start_as_current_span("order"):
        client.create(model=MODEL, messages=MESSAGES, response_model=Priced)
    client.client.close()
    price, order = exporter.get_finished_spans()
    assert price.name == "price"
    assert price.parent is not None
    assert price.parent.span_id == order.context.span_id


@pytest.mark.parametrize("way", ["is_recording", "get_span_context"])
def test_a_span_that_cant_be_asked_costs_no_call_its_telling(
    way: str, provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    class Odd(NonRecordingSpan):
        is_odd = False

        def is_recording(self) -> bool:
            assert not self.is_odd or way != "is_recording"
            return False

        def get_span_context(self) -> SpanContext:
            assert not self.is_odd or way != "get_span_context"
            return super().get_span_context()

    span = Odd(of(False, is_remote=False).get_span_context())

    class Around:
        def __enter__(self) -> None:
            self.token = context_api.attach(trace.set_span_in_context(span))
            span.is_odd = True

        def __exit__(self, *_: object) -> None:
            span.is_odd = False
            context_api.detach(self.token)

    counted = told(provider, sampling(DEFAULT_ON, exporter), Around)
    assert any("llm_cache.requests" in point for point in counted)


class Own(ParentBased):
    """Says something else than its delegates do."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return ALWAYS_ON.should_sample(*args, **kwargs)


class Reloaded:
    """A sampler that passes on to another, as those do that are configured from afar."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sampler, name)


def patched(sampler: Any) -> Any:
    sampler.should_sample = ALWAYS_ON.should_sample
    return sampler


def in_its_own_way(how: str, exporter: InMemorySpanExporter) -> TracerProvider:
    """A provider that drops all, but whose tracers start spans of another that keeps them."""
    tracers, start = sampling(ALWAYS_OFF, exporter), sampling(ALWAYS_ON, exporter).get_tracer("x")
    get: Any = tracers.get_tracer

    def start_span(*args: Any, **kwargs: Any) -> Span:
        return start.start_span(*args, **kwargs)

    def get_tracer(*args: Any, **kwargs: Any) -> Any:
        tracer = get(*args, **kwargs)
        if how == "derived":
            tracer.__class__ = type(
                "Own", (type(tracer),), {"start_span": staticmethod(start_span)}
            )
        else:
            tracer.start_span = start_span
        return tracer

    tracers.get_tracer = get_tracer  # type: ignore[method-assign]
    return tracers


@pytest.mark.parametrize(
    "tracers",
    [
        lambda exporter: sampling(Own(ALWAYS_OFF), exporter),
        lambda exporter: sampling(Reloaded(ALWAYS_ON), exporter),  # type: ignore[arg-type]
        lambda exporter: sampling(patched(ParentBased(ALWAYS_OFF)), exporter),
        lambda exporter: in_its_own_way("derived", exporter),
        lambda exporter: in_its_own_way("patched", exporter),
    ],
    ids=["derived", "reloaded", "patched", "a derived tracer", "a patched tracer"],
)
def test_of_what_is_not_the_sdks_own_nothing_is_certain(
    tracers: Any, provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    told(provider, tracers(exporter))
    assert [span.name for span in exporter.get_finished_spans()].count("create Seen") == 2


def test_who_changes_the_sampler_afterwards_is_heard(
    provider: SimulatedProvider, exporter: InMemorySpanExporter
) -> None:
    tracers = sampling(ALWAYS_OFF, exporter)
    client = make_client(provider)
    instrument(client, tracer_provider=tracers, meter_provider=NoOpMeterProvider())
    client.create(model=MODEL, messages=MESSAGES, response_model=Seen)
    (spans,) = [spans for spans in signals._all_spans.values() if spans.provider is tracers]
    spans._tracer.sampler = ALWAYS_ON  # type: ignore[attr-defined]
    client.create(model=MODEL, messages=MESSAGES, response_model=Seen)
    client.client.close()
    later.wait(10)
    assert [span.name for span in exporter.get_finished_spans()].count("create Seen") == 1


def test_a_context_whose_span_is_none_is_as_without() -> None:
    off, as_the_parent = (
        Dropping(TracerProvider(sampler, shutdown_on_exit=False).get_tracer("x"))
        for sampler in (DEFAULT_OFF, DEFAULT_ON)
    )
    assert off.drops("no span")
    assert not as_the_parent.drops("no span")

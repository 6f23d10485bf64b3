"""Calls note, and something else says it: in order, soon, within bounds, and never on a call's path."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext
from pydantic import BaseModel, field_validator
from support.models import MESSAGES, User
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.ways import MODEL, make_client

import llm_cache_otel.later as later_module
from llm_cache_otel import flush, instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.emit.ahead import Ahead
from llm_cache_otel.later import Later, later
from llm_cache_otel.reporters import reporters

OUTCOMES = "llm_cache.requests", "llm_cache.outcome"
REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}


opened: list[Any] = []


def opened_client(provider: SimulatedProvider) -> Any:
    """One that is closed when the test is over."""
    client = make_client(provider, cache=AutoCache())
    opened.append(client)
    return client


@pytest.fixture(autouse=True)
def only_when_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The thread lets minutes pass before it says anything by itself."""
    later.wait(10)
    monkeypatch.setattr(later_module, "_PAUSE", 600)
    if later._is_rung:
        later._hurry.put(None)  # it waits in a pause that another test has made long
    patience = time.monotonic() + 30
    while later._is_rung and time.monotonic() < patience:
        time.sleep(0.01)
    yield
    while opened:
        opened.pop().client.close()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Later]:
    """One whose thread was never started."""
    monkeypatch.setattr(later_module, "_MOST", 8)
    made = Later()
    yield made
    made.wait(1)


class Exported:
    """What an application's own pipeline exports, in batches."""

    def __init__(self, **given: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False, **given)
        self.tracers.add_span_processor(BatchSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters: Any = MeterProvider([self.reader], shutdown_on_exit=False)

    def client(self, provider: SimulatedProvider) -> Any:
        return instrument(
            opened_client(provider),
            tracer_provider=self.tracers,
            meter_provider=self.meters,
        )

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is flushed that another test has left, whose exporter may fail."""
    flush(30)
    monkeypatch.setattr(reporters, "_made", WeakValueDictionary())


@pytest.mark.usefixtures("alone")
def test_a_call_says_nothing_until_somebody_wants_to_know(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(opened_client(provider), **recording.providers)
    client.create(**REQUEST)
    client.create(**REQUEST)
    assert recording.exporter.get_finished_spans() == ()
    assert flush(10)
    assert len(recording.exporter.get_finished_spans()) == 5


def test_what_waits_holds_nothing_of_the_hosts(
    provider: SimulatedProvider, recording: Recording
) -> None:
    class Message(dict[str, Any]):
        """Which can be referred to weakly."""

    def call() -> tuple[weakref.ref[Any], ...]:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        patched: Any = instrument(instructor.patch(client), **recording.providers)
        message = Message(role="user", content="Who is it?")
        request = REQUEST | {"messages": [message]}
        answer = patched.chat.completions.create(**request, cache=AutoCache())
        client.close()
        return weakref.ref(client), weakref.ref(message), weakref.ref(answer)

    held = call()
    gc.collect()
    assert len(later._work) > 0
    assert [reference() for reference in held] == [None, None, None]
    assert recording.sums(*OUTCOMES) == {"miss": 1}


def test_a_collection_of_metrics_wants_to_know(provider: SimulatedProvider) -> None:
    exported = Exported()
    exported.client(provider).create(**REQUEST)
    data = exported.reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    assert "llm_cache.requests" in [metric.name for metric in metrics]


@pytest.mark.parametrize("how", ["force_flush", "shutdown"])
def test_an_applications_own_flushing_wants_to_know(how: str, provider: SimulatedProvider) -> None:
    """Though its processor was added before ours; and one that is added later flushes as well."""
    exported = Exported()
    second = InMemorySpanExporter()
    client = exported.client(provider)
    client.create(**REQUEST)
    exported.tracers.add_span_processor(BatchSpanProcessor(second))
    client.create(**REQUEST)
    getattr(exported.tracers, how)()
    assert exported.names.count("create User") == 2
    # Spans that began before it was there, it is not given either by the SDK, but they have not begun yet.
    assert len(second.get_finished_spans()) == len(exported.names)


@pytest.mark.usefixtures("alone")
def test_a_provider_that_flushes_side_by_side_is_left_as_it_is(provider: SimulatedProvider) -> None:
    side_by_side = ConcurrentMultiSpanProcessor()
    exported = Exported(active_span_processor=side_by_side)
    exported.client(provider).create(**REQUEST)
    assert [type(each) for each in side_by_side._span_processors] == [BatchSpanProcessor]
    assert flush(10)
    assert exported.names.count("create User") == 1
    side_by_side._executor.shutdown()


def test_nothing_of_ours_stays_at_a_provider_that_nothing_goes_to(
    provider: SimulatedProvider,
) -> None:
    exported = Exported()
    before = exported.tracers._active_span_processor._span_processors
    exported.meters = NoOpMeterProvider()  # another keeps who is asked for gauges
    client = exported.client(provider)
    client.create(**REQUEST)
    (ahead, *others) = exported.tracers._active_span_processor._span_processors
    assert isinstance(ahead, Ahead)
    assert (*others,) == before
    uninstrument(client)
    client.client.close()
    del client
    assert later.wait(10), "what had been noted is said, and nothing holds on to the provider"
    gc.collect()
    assert later.wait(10), "which is told by a finalizer"
    assert exported.tracers._active_span_processor._span_processors == before
    exported.tracers.force_flush()
    assert exported.names.count("create User") == 1


class Nosy(BaseModel):
    """Whose validator does in a call what hosts do."""

    name: str
    age: int

    @field_validator("name")
    @classmethod
    def look_around(cls, name: str) -> str:
        span = trace.get_current_span()
        span.set_attribute("host.set", True)
        span.add_event("host.event")
        seen.append(span)
        if tracer is not None:
            with tracer.start_as_current_span("the host's"):
                pass
        return name


seen: list[Any] = []
tracer: Any = None


@pytest.fixture
def nosy(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    yield {**REQUEST, "response_model": Nosy}
    seen.clear()
    globals()["tracer"] = None


def test_what_asks_for_the_span_meanwhile_gets_the_one_that_is_told(
    provider: SimulatedProvider, nosy: dict[str, Any]
) -> None:
    exported = Exported()
    client = exported.client(provider)
    globals()["tracer"] = exported.tracers.get_tracer("host")
    client.create(**nosy)
    client.create(**nosy)
    assert exported.tracers.force_flush()
    spans = {span.context.span_id: span for span in exported.exporter.get_finished_spans()}
    hosts = [span for span in spans.values() if span.name == "the host's"]
    parents = [spans[span.parent.span_id].name for span in hosts if span.parent]
    assert parents == ["create Nosy"] * 2
    told = [span for span in spans.values() if (span.attributes or {}).get("host.set")]
    assert [span.name for span in told] == parents
    assert [[event.name for event in span.events] for span in told] == [["host.event"]] * 2
    assert [span.name for span in seen] == parents, "what the SDK's have beside the API's"
    assert copy.copy(seen[0]).get_span_context() == seen[0].get_span_context()
    assert [span.get_span_context().span_id for span in seen] == [
        span.context.span_id for span in told
    ]
    for span in spans.values():
        if span.parent:
            assert span.context.trace_id == spans[span.parent.span_id].context.trace_id


class Asked(Sampler):
    """Notes what it is asked about, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[tuple[str, set[str]]] = []
        self._fails = fails
        self.times = 0

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *given: Any, **more: Any
    ) -> SamplingResult:
        self.times += 1
        if self._fails:
            raise ValueError("a sampler of the host's that fails")
        attributes = more.get("attributes") or (given[1] if len(given) > 1 else None) or {}
        self.asked.append((name, set(attributes)))
        return ALWAYS_OFF.should_sample(parent_context, trace_id, name)

    def get_description(self) -> str:
        return "Asked"


def test_samplers_know_what_begins_and_no_more(provider: SimulatedProvider) -> None:
    sampler = Asked()
    exported = Exported(sampler=sampler)
    client = exported.client(provider)
    client.create(**REQUEST)
    client.create(**REQUEST)
    assert exported.tracers.force_flush()
    assert exported.names == []
    known = dict(sampler.asked)
    assert known["create User"] == {"instructor.response_model"}
    assert known["cache lookup"] == set()
    assert {"gen_ai.operation.name", "gen_ai.provider.name", "server.address"} <= known[
        f"chat {MODEL}"
    ]
    assert len(sampler.asked) == 5, "each span once"


def test_a_sampler_that_fails_within_a_call_costs_the_span_only(
    provider: SimulatedProvider, nosy: dict[str, Any]
) -> None:
    sampler = Asked(fails=True)
    exported = Exported(sampler=sampler)
    around = TracerProvider(shutdown_on_exit=False).get_tracer("host")
    client = exported.client(provider)
    with around.start_as_current_span("around") as outer:
        assert client.create(**nosy).age == client.create(**nosy).age
    assert [span.get_span_context().span_id for span in seen] == [
        outer.get_span_context().span_id
    ] * 2, "what begins within is the outer span's"
    assert outer.is_recording() is False, "which ended when the host ended it"
    assert exported.tracers.force_flush()
    assert exported.names == []
    assert sampler.times == 5, (
        "of each span once, also where it is asked while it is told that this fails"
    )
    data = exported.reader.get_metrics_data()
    assert data is not None
    counts = {
        metric.name: sum(point.value for point in metric.data.data_points)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name in ("llm_cache.requests", "llm_cache.instrumentation.errors")
    }
    assert counts["llm_cache.requests"] == 2
    assert counts["llm_cache.instrumentation.errors"] > 0


def test_a_span_around_that_can_not_be_asked_costs_the_span_only(
    provider: SimulatedProvider, nosy: dict[str, Any]
) -> None:
    class Odd(NonRecordingSpan):
        def get_span_context(self) -> SpanContext:
            raise ValueError("a span of the host's that fails")

    exported = Exported()
    client = exported.client(provider)
    with trace.use_span(Odd(trace.INVALID_SPAN_CONTEXT)):
        assert client.create(**nosy).age == client.create(**nosy).age
    assert exported.tracers.force_flush()
    assert "create Nosy" not in exported.names


def test_a_child_that_is_forked_within_a_call_has_its_span_for_a_parent(
    provider: SimulatedProvider, nosy: dict[str, Any], tmp_path: Path
) -> None:
    exported = Exported()
    client = exported.client(provider)
    said = tmp_path / "child"

    class Forks:
        def start_as_current_span(self, name: str) -> Any:
            process = os.fork()
            if not process:
                context = trace.get_current_span().get_span_context()
                said.write_text(json.dumps([context.trace_id, context.span_id]))
                os._exit(0)
            os.waitpid(process, 0)
            return contextlib.nullcontext()

    globals()["tracer"] = Forks()
    client.create(**nosy)
    assert exported.tracers.force_flush()
    (create,) = [s for s in exported.exporter.get_finished_spans() if s.name == "create Nosy"]
    assert json.loads(said.read_text()) == [create.context.trace_id, create.context.span_id]


def test_what_is_put_is_done_in_order_whoever_does_it(own: Later) -> None:
    done: list[int] = []
    for number in range(5):
        assert own.put(lambda number=number: done.append(number))
    own.close_with(own, lambda: done.append(-2))
    own.close_with(own, lambda: done.append(-1))
    assert own.wait(1)
    assert done == [0, 1, 2, 3, 4, -1]
    assert own.wait(1)
    assert done == [0, 1, 2, 3, 4, -1], "once"


def test_one_who_may_makes_room_by_doing_what_waits(own: Later) -> None:
    done: list[int] = []
    puts = [own.put(lambda n=n: done.append(n), helps=True) for n in range(20)]
    assert all(puts)
    assert done == list(range(12))
    assert own.wait(1)
    assert done == list(range(20))


def test_one_who_may_not_has_it_dropped(own: Later) -> None:
    puts = [own.put(lambda: None) for _ in range(20)]
    assert puts == [True] * 8 + [False] * 12


def test_nobody_waits_for_what_hangs(own: Later) -> None:
    """One waits for a moment; those after it no more, until something moves again."""
    go_on, begun = threading.Event(), threading.Event()
    own.put(lambda: (begun.set(), go_on.wait(60)))
    threading.Thread(target=own.wait, args=(60,), daemon=True).start()
    assert begun.wait(10)
    for _ in range(8):
        assert own.put(lambda: None, helps=True)
    assert not own.put(lambda: None, helps=True)
    since = time.perf_counter()
    assert not any(own.put(lambda: None, helps=True) for _ in range(1_000))
    assert time.perf_counter() - since < 2, "a thousand of them, where each would have waited 5 ms"
    assert not own.wait(0.01)
    go_on.set()
    assert own.wait(10)
    assert own.put(lambda: None, helps=True)


def test_flush_waits_no_longer_than_told_though_what_it_interrupts_holds_a_lock(
    own: Later,
) -> None:
    """In a signal's handler: the SDK takes such a lock where it is told something."""
    own.ready()
    lock = threading.Lock()
    own.put(lambda: lock.acquire() and lock.release())
    with lock:
        assert not own.flush(0.05)
    assert own.flush(10)


def test_flush_within_what_is_done_waits_for_nothing(own: Later) -> None:
    own.ready()
    flushed: list[bool] = []
    own.put(lambda: flushed.append(own.flush(60)))
    own.close_with(own, lambda: flushed.append(own.flush(60)))
    assert own.flush(10)
    assert flushed == [False, False]


def test_a_flush_in_which_ours_fails_says_so(provider: SimulatedProvider) -> None:
    Exported().client(provider).create(**REQUEST)
    sabotage = Broken(FUNCTIONS["later.Later.flush"])
    sabotage.start()
    try:
        assert not flush(10)
    finally:
        sabotage.stop()
    assert sabotage.runs


def test_flush_gives_the_thread_what_is_put_and_what_sums_it_up(own: Later) -> None:
    own.ready()
    for number in range(3):
        done: list[object] = []
        own.put(lambda done=done: done.append(threading.current_thread().name))
        own.close_with(number, lambda done=done: done.append("sum"))
        assert own.flush(10)
        assert done == ["llm_cache_otel-later", "sum"]


class Hangs(SpanProcessor):
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def on_end(self, span: Any) -> None:
        self.go_on.wait(60)


def test_calls_go_on_while_a_processor_hangs_and_what_is_dropped_is_counted(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exported, hangs = Exported(), Hangs()
    client = exported.client(provider)
    provider.cues.add(Cue(answer={"name": "Ada", "age": 36}))
    client.create(**REQUEST)
    exported.tracers.add_span_processor(hangs)
    monkeypatch.setattr(later_module, "_MOST", 8)
    threading.Thread(target=later.wait, args=(60,), daemon=True).start()
    for _ in range(40):
        assert client.create(**REQUEST).name == "Ada"
    hangs.go_on.set()
    assert later.wait(10)
    client.create(**REQUEST)
    data = exported.reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: {str(dict(point.attributes)): point.value for point in metric.data.data_points}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name in ("llm_cache.requests", "llm_cache.instrumentation.errors")
    }
    requests = sum(points["llm_cache.requests"].values())
    (dropped,) = points["llm_cache.instrumentation.errors"].values()
    assert "'llm_cache.instrumentation.where': 'queue'" in str(points)
    assert dropped > 0
    assert requests + dropped == 42
    assert len([text for text in caplog.messages if "dropped some" in text]) == 1


@pytest.mark.parametrize("name", ["_has_helped", "_do_one"])
def test_a_call_does_not_notice_where_making_room_fails(
    name: str, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = Exported()
    client = exported.client(provider)
    expected = client.create(**REQUEST).model_dump()
    monkeypatch.setattr(later_module, "_MOST", 0)
    sabotage = Broken(FUNCTIONS[f"later.Later.{name}"])
    sabotage.start()
    try:
        assert client.create(**REQUEST).model_dump() == expected
    finally:
        sabotage.stop()
    assert sabotage.runs


def test_a_finalizer_of_ours_that_fails_tells_the_host_nothing(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", told.append)
    exported = Exported()
    exported.meters = NoOpMeterProvider()  # another keeps who is asked for gauges
    client = exported.client(provider)
    client.create(**REQUEST)
    assert later.wait(10)
    client.client.close()
    sabotage = Broken(FUNCTIONS["later.Later.put"])
    sabotage.start()
    try:
        uninstrument(client)
        del client
        gc.collect()
    finally:
        sabotage.stop()
    assert sabotage.runs
    assert told == []


@pytest.mark.parametrize("how", ["force_flush", "shutdown"])
def test_an_applications_flushing_does_not_notice_where_ours_fails(
    how: str, provider: SimulatedProvider
) -> None:
    exported = Exported()
    exported.client(provider).create(**REQUEST)
    exported.tracers.get_tracer("host").start_span("the host's").end()
    sabotage = Broken(FUNCTIONS["later.Later.wait"])
    sabotage.start()
    try:
        assert getattr(exported.tracers, how)() in (None, True)
    finally:
        sabotage.stop()
    assert sabotage.runs
    assert "the host's" in exported.names


def test_an_application_that_flushes_in_the_midst_of_ours_flushes_its_own(
    provider: SimulatedProvider,
) -> None:
    """In a signal's handler, say."""
    exported = Exported()
    exported.client(provider).create(**REQUEST)
    assert later.wait(10)
    flushed: list[bool] = []

    def strike() -> None:
        exported.tracers.get_tracer("host").start_span("the host's").end()
        flushed.append(exported.tracers.force_flush())

    later.put(strike)
    assert later.wait(10)
    assert flushed == [True]
    assert "the host's" in exported.names

"""Spans that nobody asks for while they last are given to the SDK whole: nobody can tell."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from instructor.cache import AutoCache, DiskCache
from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    Tracer,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
)
from support.models import MESSAGES, User
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.emit import whole_span
from llm_cache_otel.later import later

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}
REMOTE = SpanContext(7, 7, True, TraceFlags(0x03), TraceState([("k", "v")]))
UNSAMPLED = SpanContext(8, 8, True, TraceFlags(0))
METERS = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)


class Numbered(IdGenerator):
    """The same ids in every run."""

    def __init__(self, *, random: bool) -> None:
        self._numbers = itertools.count(1)
        self._random = random

    def generate_span_id(self) -> int:
        return next(self._numbers)

    def generate_trace_id(self) -> int:
        return next(self._numbers)

    def is_trace_id_random(self) -> bool:
        return self._random


class Watching(SpanProcessor):
    """Sees spans begin, so that they must be the SDK's own."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.seen.append(span.name)
        span.set_attribute("seen", True)


class WatchingEnds(SpanProcessor):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def _on_ending(self, span: Any) -> None:
        self.seen.append(span.name)


class Deciding(Sampler):
    """Adds what it likes, and records without sampling."""

    def __init__(self, decision: Decision, attributes: dict[str, Any]) -> None:
        self._decision = decision
        self._attributes = attributes
        self.asked: list[Any] = []

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        _, trace_id, name, kind, attributes, links = args
        self.asked.append((trace_id, name, kind, dict(attributes or {}), tuple(links or ())))
        added = {**(attributes or {}), **self._attributes}
        return SamplingResult(self._decision, added, TraceState([("sampler", "mine")]))

    def get_description(self) -> str:
        return "Deciding"


def calls(client: Any, provider: SimulatedProvider) -> None:
    """A miss, a hit, a retry, a failure, a stream, and a call within somebody's span."""
    client.create(**REQUEST)
    client.create(**REQUEST)
    provider.cues.add(Cue(answer={}))
    client.create(**{**REQUEST, "messages": [{"role": "user", "content": "Grüße"}]})
    provider.cues.add(Cue(status=500))
    with pytest.raises(Exception, match="500"):
        client.create(
            **{**REQUEST, "messages": [{"role": "user", "content": "fails"}]}, max_retries=0
        )
    list(client.create_partial(**REQUEST))
    for around in (REMOTE, UNSAMPLED):
        token = context_api.attach(trace_api.set_span_in_context(NonRecordingSpan(around)))
        client.create(**REQUEST)
        context_api.detach(token)


def sent(spans: tuple[ReadableSpan, ...]) -> list[Any]:
    """As they go over the wire, but for what differs between two runs."""

    def steady(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("key") in ("llm_cache.key.digest", "server.port", "gen_ai.response.id"):
                return value["key"]
            if "duration" in str(value.get("key")) or "entry.size" in str(value.get("key")):
                return value["key"]
            return {
                name: steady(each) for name, each in value.items() if "TimeUnixNano" not in name
            }
        return [steady(each) for each in value] if isinstance(value, list) else value

    return [steady(MessageToDict(encode_spans([span]))) for span in spans]


def told(
    provider: SimulatedProvider,
    cache: Any,
    processor: SpanProcessor | None = None,
    **providers: Any,
) -> tuple[ReadableSpan, ...]:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False, **providers)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    if processor is not None:
        tracers.add_span_processor(processor)
    client = instrument(
        make_client(provider, cache=cache), tracer_provider=tracers, meter_provider=METERS
    )
    calls(client, provider)
    client.client.close()
    later.wait(10)
    return exporter.get_finished_spans()


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the spans that the SDK did not make."""
    found: list[str] = []
    start = whole_span.WholeSpans.start

    def noted(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        found.append(name)
        return start(self, name, *args, **kwargs)

    monkeypatch.setattr(whole_span.WholeSpans, "start", noted)
    return found


class Quietly(SpanProcessor):
    """Does nothing as a span begins, and says so with a method of its own."""

    def on_start(self, span: Any, parent_context: Any = None) -> None: ...


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize(
    "providers",
    [
        lambda: {"sampler": ALWAYS_ON},
        dict,
        lambda: {"sampler": Deciding(Decision.RECORD_ONLY, {})},
        lambda: {"sampler": Deciding(Decision.RECORD_AND_SAMPLE, {"odd": object, "rule": 3})},
        lambda: {"sampler": Deciding(Decision.DROP, {"rule": 3})},
        lambda: {"span_limits": SpanLimits(max_attributes=500)},
    ],
    ids=["all", "as the parent", "recorded only", "with more", "dropped", "much room"],
)
@pytest.mark.parametrize("random", [True, False])
def test_what_is_sent_is_what_the_sdk_would_have_made(
    providers: Callable[[], dict[str, Any]],
    store: str,
    random: bool,
    provider: SimulatedProvider,
    whole: list[str],
    tmp_path: Path,
) -> None:
    def cache(name: str) -> Any:
        return AutoCache() if store == "memory" else DiskCache(str(tmp_path / name))

    ours = providers()
    given = told(provider, cache("a"), id_generator=Numbered(random=random), **ours)
    assert len(whole) >= max(6, len(given)), "or it is not this that is compared"
    whole.clear()
    theirs = providers()
    own = told(
        provider, cache("b"), processor=Quietly(), id_generator=Numbered(random=random), **theirs
    )
    assert whole == []
    assert sent(given) == sent(own)
    assert [type(span) for span in given] == [type(span) for span in own]
    assert [span.dropped_attributes for span in given] == [span.dropped_attributes for span in own]
    if isinstance(ours.get("sampler"), Deciding):
        assert ours["sampler"].asked == theirs["sampler"].asked


@pytest.mark.parametrize("kind", [Watching, WatchingEnds])
def test_who_watches_spans_begin_or_change_is_given_the_sdks_own(
    kind: type[Watching | WatchingEnds], provider: SimulatedProvider, whole: list[str]
) -> None:
    watching = kind()
    spans = told(provider, AutoCache(), processor=watching)
    assert len(spans) >= 6
    assert whole == []
    assert sorted(watching.seen) == sorted(span.name for span in spans)
    if kind is Watching:
        assert all((span.attributes or {})["seen"] for span in spans)


def test_one_that_is_added_later_is_heeded_from_then_on(provider: SimulatedProvider) -> None:
    exporter, watching = InMemorySpanExporter(), Watching()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    client = instrument(
        make_client(provider, cache=AutoCache()), tracer_provider=tracers, meter_provider=METERS
    )
    client.create(**REQUEST)
    later.wait(10)
    tracers.add_span_processor(watching)
    client.create(**REQUEST)
    client.client.close()
    later.wait(10)
    assert watching.seen == ["create User"]
    assert "seen" in (exporter.get_finished_spans()[-1].attributes or {})


@pytest.mark.parametrize(
    "providers",
    [
        {"span_limits": SpanLimits(max_span_attribute_length=2)},
        {"span_limits": SpanLimits(max_span_attributes=2)},
        {"active_span_processor": ConcurrentMultiSpanProcessor()},
    ],
    ids=["short values", "few attributes", "side by side"],
)
def test_what_is_not_as_usual_the_sdk_does_itself(
    providers: dict[str, Any], provider: SimulatedProvider, whole: list[str]
) -> None:
    spans = told(provider, AutoCache(), **providers)
    assert len(spans) >= 6
    assert whole == []
    if "span_limits" in providers:
        limits: SpanLimits = providers["span_limits"]
        for span in spans:
            values = (span.attributes or {}).values()
            assert len(values) <= (limits.max_span_attributes or 0)
            longest = limits.max_span_attribute_length
            assert longest is None or all(
                len(value) <= longest for value in values if isinstance(value, str)
            )


def test_a_tracer_of_another_make_is_asked_for_every_span(
    provider: SimulatedProvider, whole: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later SDK may keep elsewhere what a span of ours takes of it."""
    monkeypatch.setattr(whole_span, "_USED", (*whole_span._USED, "_nowhere"))
    spans = told(provider, AutoCache())
    assert len(spans) >= 6
    assert whole == []


def test_a_tracer_that_another_one_stands_in_for_starts_every_span() -> None:
    """The other's sampler is asked then."""
    ours, theirs = (TracerProvider(shutdown_on_exit=False).get_tracer("t") for _ in range(2))
    spans = whole_span.WholeSpans(ours)
    assert spans.are_as_good()
    ours.start_span = theirs.start_span  # type: ignore[method-assign]
    assert not spans.are_as_good()


def _of_a_processor(tracers: TracerProvider) -> Any:
    return tracers._active_span_processor._span_processors[-1]


@pytest.mark.parametrize("when", ["before the first call", "after it"])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (lambda tracers: Tracer, "start_span"),
        *((lambda tracers: Span, name) for name in ("start", "set_attributes", "end")),
        (lambda tracers: SimpleSpanProcessor, "on_start"),
        (lambda tracers: SynchronousMultiSpanProcessor, "on_start"),
        (lambda tracers: tracers._active_span_processor, "on_start"),
        (_of_a_processor, "on_start"),
        (_of_a_processor, "_on_ending"),
    ],
)
def test_who_has_wrapped_the_sdks_own_sees_every_span(
    place: Callable[[TracerProvider], Any],
    name: str,
    when: str,
    provider: SimulatedProvider,
    whole: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As agents of vendors' do, and whoever attaches one to a program that runs."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    client = instrument(
        make_client(provider, cache=AutoCache()), tracer_provider=tracers, meter_provider=METERS
    )
    if when == "after it":
        client.create(**REQUEST)
        assert later.wait(10)
    whole.clear()
    holder = place(tracers)
    original, seen = getattr(holder, name), []

    @functools.wraps(original)
    def around(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(holder, name, around)
    client.create(**REQUEST)
    client.create(**{**REQUEST, "messages": [{"role": "user", "content": "another"}]})
    client.client.close()
    assert later.wait(10)
    assert whole == []
    assert len(seen) >= 5


def test_who_is_put_among_the_processors_by_hand_sees_every_span(
    provider: SimulatedProvider,
) -> None:
    tracers, watching = TracerProvider(shutdown_on_exit=False), Watching()
    client = instrument(
        make_client(provider, cache=AutoCache()), tracer_provider=tracers, meter_provider=METERS
    )
    processors: Any = tracers._active_span_processor
    processors._span_processors = [*processors._span_processors]
    client.create(**REQUEST)
    assert later.wait(10)
    processors._span_processors.append(watching)
    client.create(**REQUEST)
    client.client.close()
    assert later.wait(10)
    assert watching.seen == ["create User"]


class Meddling(Deciding):
    """Adds to what it is shown."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        shown = args[4]
        shown.update(self._attributes)
        return SamplingResult(self._decision, shown)


@pytest.mark.parametrize("kind", [Deciding, Meddling])
def test_what_samplers_add_is_cleaned_and_limited_as_the_sdk_does(
    kind: type[Deciding], provider: SimulatedProvider, whole: list[str]
) -> None:
    more = {"bad": object(), "list": [1, "a"], "": "e", **{f"k{n}": n for n in range(200)}}
    found = []
    for processor in (None, Quietly()):
        spans = told(
            provider,
            AutoCache(),
            sampler=kind(Decision.RECORD_AND_SAMPLE, more),
            processor=processor,
        )
        found.append(
            [(len(span.attributes or {}), span.dropped_attributes) for span in spans]
            + [sorted(str(key) for key in span.attributes or {}) for span in spans]
        )
    assert whole
    assert found[0] == found[1]


def test_a_tracer_that_is_disabled_tells_nothing(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracer, "_is_enabled", lambda self: False)
    assert told(provider, AutoCache()) == ()


def test_the_sdk_counts_them_as_its_own(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that has the SDK count its spans: started ones, and those that are live."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    found = []
    for processor in (None, Quietly()):
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], shutdown_on_exit=False)
        told(provider, AutoCache(), processor=processor, meter_provider=meters)
        data: Any = reader.get_metrics_data()
        found.append(
            sorted(
                (metric.name, str(dict(point.attributes)), point.value)
                for scope in data.resource_metrics[0].scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
                if "span" in metric.name
            )
        )
    assert found[0] == found[1]
    assert len(found[0]) >= 2


def test_a_span_that_is_kept_looks_as_any_that_has_ended(
    provider: SimulatedProvider, whole: list[str]
) -> None:
    kept: list[Any] = []

    class Keeping(AutoCache):
        def get(self, key: str) -> Any:
            kept.append(get_current_span())
            return super().get(key)

    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    client = instrument(
        make_client(provider, cache=Keeping()), tracer_provider=tracers, meter_provider=METERS
    )
    client.create(**REQUEST)
    client.client.close()
    tracers.force_flush()
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    assert len(whole) == len(spans) == 4
    (span,) = kept
    ended = spans[span.get_span_context().span_id]
    assert not span.is_recording()
    span.set_attribute("late", 1)
    span.set_attributes({"late": 1})
    span.add_event("late")
    span.set_status(trace_api.Status(trace_api.StatusCode.ERROR))
    span.update_name("late")
    span.record_exception(ValueError("late"))
    span.end()
    assert dict(span.attributes) == dict(ended.attributes or {})
    assert "late" not in span.attributes
    assert (span.name, span.kind, span.start_time) == (ended.name, ended.kind, ended.start_time)
    assert span._attributes == dict(ended.attributes or {})  # as telemetry's own code may read
    assert not hasattr(span, "nothing_of_the_kind")
    child = tracers.get_tracer("after").start_span(
        "later", trace_api.set_span_in_context(span, context_api.Context())
    )
    assert child.parent.span_id == ended.context.span_id  # type: ignore[attr-defined]
    assert len([each for each in exporter.get_finished_spans() if each.name == "cache lookup"]) == 1


class FailingExporter(SpanExporter):
    def export(self, spans: Any) -> Any:
        raise RuntimeError("no")


class FailingIds(RandomIdGenerator):
    def generate_span_id(self) -> int:
        raise RuntimeError("no")


class FailingSampler(Deciding):
    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        raise RuntimeError("no")


class FailingEnd(SpanProcessor):
    def on_end(self, span: Any) -> None:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "failing",
    [
        {"processor": SimpleSpanProcessor(FailingExporter())},
        {"processor": FailingEnd()},
        {"id_generator": FailingIds()},
        {"sampler": FailingSampler(Decision.DROP, {})},
    ],
    ids=["exporter", "processor", "ids", "sampler"],
)
def test_what_fails_in_it_costs_the_calls_nothing(
    failing: dict[str, Any], provider: SimulatedProvider, whole: list[str]
) -> None:
    told(provider, AutoCache(), **failing)
    assert whole

"""Durations are passed on in batches, each as it was; exemplars are those that a histogram would keep."""

from __future__ import annotations

from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import get_current_span, set_span_in_context
from support.models import MESSAGES, User
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit.durations import Durations
from llm_cache_otel.emit.tally import Labels, Tallies
from llm_cache_otel.later import later

BOUNDARIES = [0.1, 1.0]
ONE = Labels(of="one")


class Read:
    """A meter, and what is read of it."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name and isinstance(metric.data, Histogram | Sum)
            for point in metric.data.data_points
        ]


def in_spans(count: int, sampler: Sampler = ALWAYS_ON) -> list[Context]:
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("test")
    return [set_span_in_context(tracer.start_span("s", Context()), Context()) for _ in range(count)]


def span_id(context: Context) -> int:
    return get_current_span(context).get_span_context().span_id


@pytest.fixture
def read() -> Read:
    return Read()


@pytest.fixture
def durations(read: Read) -> Durations:
    meter = read.provider.get_meter("test")
    histogram = meter.create_histogram("d", "s", explicit_bucket_boundaries_advisory=BOUNDARIES)
    return Durations(histogram, BOUNDARIES)


def test_each_is_counted_where_it_belongs(read: Read, durations: Durations) -> None:
    for seconds in (0.05, 0.1, 0.5, 2.0, 3.0):
        durations.record(seconds, ONE)
    durations.record(0.5, Labels(of="another"))
    assert read.points("d") == [], "nothing is said before it is passed on"
    durations.pass_on()
    durations.pass_on()
    points = {point.attributes["of"]: point for point in read.points("d")}
    assert list(points["one"].bucket_counts) == [2, 1, 2]
    assert points["one"].sum == pytest.approx(5.65)
    assert (points["one"].min, points["one"].max) == (0.05, 3.0)
    assert list(points["another"].bucket_counts) == [0, 1, 0]


def test_of_each_bucket_the_last_that_is_sampled_is_an_exemplar(
    read: Read, durations: Durations
) -> None:
    contexts = in_spans(4)
    for seconds, context in zip((0.05, 0.06, 2.0, 0.5), contexts, strict=True):
        durations.record(seconds, ONE, context)
    durations.record(0.07, ONE)  # whose span is not sampled
    durations.pass_on()
    (point,) = read.points("d")
    found = {exemplar.value: exemplar.span_id for exemplar in point.exemplars}
    assert found == {
        0.06: span_id(contexts[1]),
        2.0: span_id(contexts[2]),
        0.5: span_id(contexts[3]),
    }


@pytest.mark.parametrize(("sampler", "exemplars"), [(ALWAYS_ON, 1), (ALWAYS_OFF, 0)])
def test_a_calls_exemplar_is_its_span(
    sampler: Sampler, exemplars: int, provider: SimulatedProvider, read: Read
) -> None:
    tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    client = make_client(provider, cache=AutoCache())
    instrument(client, tracer_provider=tracers, meter_provider=read.provider)
    client.create(model=MODEL, messages=MESSAGES, response_model=User)
    client.client.close()
    assert later.wait(10)
    (point,) = read.points("llm_cache.request.duration")
    assert len(point.exemplars) == exemplars


def test_a_meter_that_fails_costs_the_call_nothing(provider: SimulatedProvider, read: Read) -> None:
    """Nor the next batch."""
    client = make_client(provider, cache=AutoCache())
    instrument(client, tracer_provider=TracerProvider(), meter_provider=read.provider)
    ask = lambda: client.create(model=MODEL, messages=MESSAGES, response_model=User)
    failing = pytest.MonkeyPatch()
    failing.setattr(Durations, "pass_on", _fails)
    ask()
    assert later.wait(10)
    failing.undo()
    ask()
    client.client.close()
    assert later.wait(10)
    (point,) = [
        point
        for point in read.points("llm_cache.request.duration")
        if point.attributes["llm_cache.outcome"] == "hit"
    ]
    assert point.count == 1


def test_where_no_batch_ends_no_more_are_kept_for_it(
    monkeypatch: pytest.MonkeyPatch, read: Read, durations: Durations
) -> None:
    """Calls may come faster than they are told of, for as long as they like."""
    monkeypatch.setattr("llm_cache_otel.emit.durations._MOST", 10)
    for _ in range(25):
        durations.record(0.5, ONE)
    (point,) = read.points("d")
    assert point.count == 20
    durations.pass_on()
    (point,) = read.points("d")
    assert point.count == 25


def test_a_histogram_that_fails_keeps_no_other_from_being_told(
    provider: SimulatedProvider, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(provider, cache=AutoCache())
    pass_on = Durations.pass_on

    def fails_for_requests(self: Durations) -> None:
        if self.histogram.name == "llm_cache.request.duration":  # type: ignore[attr-defined]
            raise RuntimeError("a meter that fails")
        pass_on(self)

    monkeypatch.setattr(Durations, "pass_on", fails_for_requests)
    instrument(client, tracer_provider=TracerProvider(), meter_provider=read.provider)
    client.create(model=MODEL, messages=MESSAGES, response_model=User)
    client.client.close()
    assert later.wait(10)
    (point,) = read.points("llm_cache.key.duration")
    assert point.count == 1


def _fails(self: Durations) -> None:
    raise RuntimeError("a meter that fails")


def test_sums_of_ever_new_labels_are_passed_on_meanwhile(read: Read) -> None:
    tallies = Tallies(read.provider.get_meter("test"))
    counter = tallies.counter("c", "1", "")
    for _ in range(5_000):
        counter.add(1, Labels(of="one"))
    assert len(counter._sums) <= 1_024
    tallies.pass_on()
    assert [point.value for point in read.points("c")] == [5_000]

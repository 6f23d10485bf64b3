"""A Collector in trouble: calls neither fail nor wait, it is told once, and it ends by itself."""

from __future__ import annotations

import json
import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from support.books import creates_by_instance, outcomes
from support.programs import PROTOCOLS, environment
from support.scene import QUICK, Scene
from support.stage import Stage
from support.troubled import (
    HANGING,
    INTERNAL,
    SLOW,
    THROTTLING,
    UNAUTHENTICATED,
    UNAVAILABLE,
    WELL,
    TroubledCollector,
)

from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit.pipeline.outages import Outages
from llm_cache_otel.emit.pipeline.own_exporter import OwnExporter
from llm_cache_otel.emit.pipeline.own_metrics import OwnMetricExporter
from llm_cache_otel.emit.pipeline.own_spans import OwnSpanProcessor

TROUBLES: dict[str, Callable[[TroubledCollector], None]] = {
    "killed": TroubledCollector.kill,
    "deaf": TroubledCollector.deafen,
    "hanging": lambda collector: collector.cue(HANGING),
    "unavailable": lambda collector: collector.cue(UNAVAILABLE),
    "throttling": lambda collector: collector.cue(THROTTLING),
    "internal error": lambda collector: collector.cue(INTERNAL),
    "unauthenticated": lambda collector: collector.cue(UNAUTHENTICATED),
}
NOT_TO_BE_RETRIED = ("internal error", "unauthenticated")
"""By OTLP's specification, what was refused like this must not be sent again."""


@pytest.fixture(scope="module", params=PROTOCOLS)
def scene(request: pytest.FixtureRequest, simulated_provider: SimulatedProvider) -> Iterator[Scene]:
    """One program goes through all of it."""
    with Scene(request.param, simulated_provider) as scene:
        yield scene


def neither_waits(before: list[float], during: list[float]) -> bool:
    """Loose enough for a busy machine; whoever waits for a collector waits much longer."""
    usual = statistics.median(before)
    return statistics.median(during) < 5 * usual and max(during) < 100 * usual


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_outage(trouble: str, scene: Scene) -> None:
    receiver = scene.collector.receiver
    before = scene.call()
    assert scene.puppet.flush(10)
    assert scene.all_counted()
    traced = scene.traced()
    scene.puppet.logged()

    TROUBLES[trouble](scene.collector)
    during = scene.call()
    logged = scene.logged("WARNING")
    during += scene.call()
    assert not scene.puppet.flush(0.3)
    during += scene.call()
    assert neither_waits(before, during)

    scene.collector.revive()
    assert receiver.wait_for(scene.all_counted, 20), outcomes(receiver)
    after = scene.call()
    sent = len(after) if trouble in NOT_TO_BE_RETRIED else len(during) + len(after)
    receiver.wait_for(lambda: len(scene.traced() - traced) >= sent, 20)
    assert sent <= len(scene.traced() - traced) <= len(during) + len(after)
    assert scene.puppet.flush(10)
    assert scene.all_counted()
    logged += scene.logged("INFO")

    logged += scene.puppet.logged()
    assert [(name, level) for name, level, _ in logged] == [
        ("llm_cache_otel", "WARNING"),
        ("llm_cache_otel", "INFO"),
    ], logged
    assert f"127.0.0.1:{scene.collector.port}" in logged[0][2]
    assert "llm-cache-otel doctor" in logged[0][2]


@pytest.mark.parametrize("histograms", ["explicit_bucket", "base2_exponential_bucket"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_deltas_that_can_not_be_delivered_are_sent_with_the_next(
    protocol: str, histograms: str, simulated_provider: SimulatedProvider
) -> None:
    """Several exports of them, of the same series and of others, and each measurement once."""
    ways = {
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": f"{histograms}_histogram",
        # Where no answer comes in time though all has arrived, it is counted twice.
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": 5,
    }
    with Scene(protocol, simulated_provider, **ways) as scene:
        scene.call()
        assert scene.puppet.flush(10)
        assert scene.all_counted()
        scene.collector.kill()
        for _ in range(3):
            scene.call()
            assert not scene.puppet.flush(2)
        scene.collector.revive()
        scene.call()
        assert scene.collector.receiver.wait_for(scene.all_counted, 60)
        assert scene.puppet.flush(10)
        assert scene.all_counted()
        metrics = scene.collector.receiver.metrics()
        durations = [
            point.value
            for point in metrics.matching("llm_cache.request.duration")
            if point.attributes["llm_cache.outcome"] == "hit"
        ]
        assert sum(one.count for one in durations) == len(scene.called) / 2
        assert sum(sum(one.buckets.values()) for one in durations) == len(scene.called) / 2
        assert all(0 < one.least <= one.most for one in durations)


def test_what_began_in_an_outage_and_ends_after_it_is_no_second_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "llm_cache_otel")
    outages = Outages()
    began = time.monotonic()
    outages.failed("traces", "to a Collector", began)
    outages.delivered("traces")
    outages.failed("metrics", "to a Collector", began)
    outages.delivered("metrics")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    outages.failed("metrics", "to a Collector", time.monotonic())
    outages.delivered("metrics")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


def test_metrics_do_not_wait_for_traces_that_are_refused() -> None:
    """As where a Collector's queue for these is full."""
    is_let_go, sent = threading.Event(), threading.Event()

    class Refused:
        def export(self, spans: Any) -> SpanExportResult:
            assert is_let_go.wait(60)
            sent.set()
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None: ...

    outages = Outages()
    processor = OwnSpanProcessor(Refused(), outages)
    processor._own._self_kept.append(ReadableSpan("create"))
    outages.failed("traces", "to a Collector", time.monotonic())
    outages.delivered("metrics")
    assert not sent.is_set()
    is_let_go.set()
    assert sent.wait(60)
    processor.shutdown()


def test_a_slow_collector_is_no_outage(scene: Scene) -> None:
    before = scene.call()
    assert scene.puppet.flush(10)
    scene.collector.cue(SLOW)
    scene.puppet.logged()
    during = [seconds for _ in range(5) for seconds in scene.call()]
    assert scene.puppet.flush(10)
    assert scene.all_counted()
    assert neither_waits(before, during)
    scene.collector.cue(WELL)
    assert scene.puppet.logged() == []


def test_a_frozen_program_finds_its_collector_restarted(scene: Scene) -> None:
    receiver = scene.collector.receiver
    scene.call()
    assert scene.puppet.flush(10)
    before = len(receiver.spans)
    scene.puppet.freeze()
    scene.collector.kill()
    scene.collector.revive()
    scene.puppet.thaw()
    called = scene.call()
    assert scene.puppet.flush(10)
    assert scene.all_counted()
    creates = [span.span_id for span in receiver.spans[before:] if span.name.startswith("create")]
    assert len(set(creates)) == len(creates) == len(called)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_does_not_fit_into_the_queue_is_lost_and_no_more(
    protocol: str, provider: SimulatedProvider
) -> None:
    queue, batch = 40, 10
    sizes = {"OTEL_BSP_MAX_QUEUE_SIZE": queue, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": batch}
    with Scene(protocol, provider, **sizes) as scene:
        receiver = scene.collector.receiver
        scene.call(2)
        assert scene.puppet.flush(10)
        earlier = len(receiver.spans)
        scene.collector.kill()
        scene.call(30)
        logged = scene.logged("WARNING")
        scene.call(30)
        scene.collector.revive()
        assert receiver.wait_for(scene.all_counted, 20)
        receiver.wait_for(lambda: len(receiver.spans) >= earlier + queue, 20)
        assert scene.puppet.flush(10)
        during = list({span.span_id: span for span in receiver.spans[earlier:]}.values())
        # Those in the queue, and a batch that was about to be sent.
        assert queue <= len(during) <= queue + batch
        # Those kept and those in the queue are sent side by side.
        during.sort(key=lambda span: span.start_ns)
        last = [span for span in during if span.name.startswith("create")][-10:]
        assert [span.attributes["llm_cache.outcome"] for span in last] == ["hit"] * 10
        assert [name for name, level, _ in logged if level == "WARNING"] == ["llm_cache_otel"]


def collection(temporality: AggregationTemporality) -> MetricsData:
    point = NumberDataPoint({}, 1, 2, 3)
    data = Sum([point], temporality, is_monotonic=True)
    scope = ScopeMetrics(InstrumentationScope("s"), [Metric("m", None, None, data)], "")
    return MetricsData([ResourceMetrics(Resource({}), [scope], "")])


def test_what_is_kept_of_metrics_is_bounded_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[MetricsData] = []

    class Exporter(ConsoleMetricExporter):
        _retryable_error_codes = frozenset({grpc.StatusCode.UNAVAILABLE})
        works = False

        def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
            if not self.works:
                code = grpc.StatusCode.UNAVAILABLE
                logging.getLogger(ConsoleMetricExporter.__module__).error("%s", code)
                return MetricExportResult.FAILURE
            sent.append(metrics_data)
            return MetricExportResult.SUCCESS

    caplog.set_level(logging.INFO, "llm_cache_otel")
    exporter = Exporter()
    own: Any = OwnMetricExporter(exporter, Outages())
    deltas = [collection(AggregationTemporality.DELTA) for _ in range(125)]
    for each in (*deltas, collection(AggregationTemporality.CUMULATIVE)):
        assert own.export(each) is MetricExportResult.FAILURE
    exporter.works = True
    last = collection(AggregationTemporality.CUMULATIVE)
    assert own.export(last) is MetricExportResult.SUCCESS
    assert list(map(id, sent)) == list(map(id, [*deltas[5:], last]))
    assert "5 collections of metrics were lost" in caplog.messages[-1]

    exporter.works = False
    kept = [collection(AggregationTemporality.DELTA) for _ in range(2)]
    for each in kept:
        own.export(each)
    exporter.works = True
    own.shutdown()
    assert list(map(id, sent[-2:])) == list(map(id, kept))


def test_a_try_that_comes_too_late_is_no_refusal() -> None:
    """The exporter over HTTP gives up for good where its time is up as it would try again."""
    exporter = OTLPSpanExporter(endpoint="http://127.0.0.1:9/v1/traces", timeout=1e-9)  # type: ignore[arg-type]
    own: Any = OwnExporter(exporter, "traces", Outages())
    assert own.deliver([]) == (SpanExportResult.FAILURE, True)


AT_EXIT = """
from support.caller import Caller
caller = Caller()
caller(1, 1, 2)
print("done", flush=True)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trouble", ["killed", "deaf", "hanging"])
def test_exit_is_bounded(
    trouble: str, protocol: str, provider: SimulatedProvider, stage: Stage, tmp_path: Path
) -> None:
    """Of a collector that hangs, the exporters themselves would wait for ten minutes here."""
    patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": 600, "LLM_CACHE_OTEL_EXIT_TIMEOUT": 0.5}
    with TroubledCollector(protocol) as collector:
        TROUBLES[trouble](collector)
        variables = environment(provider, collector, **patient)
        out, errors = stage.run(AT_EXIT, variables, tmp_path)
    assert out == "done\n"
    assert "Traceback" not in errors
    assert "opentelemetry" not in errors


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_can_be_sent_by_exit_is(
    protocol: str, provider: SimulatedProvider, stage: Stage, tmp_path: Path
) -> None:
    """A collector that is slow is waited for."""
    with TroubledCollector(protocol) as collector:
        collector.cue(SLOW)
        variables = environment(provider, collector, LLM_CACHE_OTEL_EXIT_TIMEOUT=30)
        stage.run(AT_EXIT, variables, tmp_path)
        assert outcomes(collector.receiver) == {"hit": 1, "miss": 2}
        assert creates_by_instance(collector.receiver).total() == 3


KEPT = """
import gc, json, os
from opentelemetry.sdk.trace import ReadableSpan
from support.caller import Caller
from llm_cache_otel.later import later

def kept():
    later.wait(10)
    gc.collect()
    objects = gc.get_objects()
    spans = sum(isinstance(each, ReadableSpan) for each in objects)
    return len(objects), spans, int(open("/proc/self/statm").read().split()[1])

caller, samples = Caller(alone=True), []
for _ in range(12):
    for number in range({calls} // 12):
        caller(number % 50)
    samples.append(kept())
print(json.dumps(samples), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from there")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "calls",
    [3_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_memory_is_bounded(
    calls: int, protocol: str, provider: SimulatedProvider, stage: Stage, tmp_path: Path
) -> None:
    """What is kept for a collector that is away fills up, and then grows no more."""
    queue = {"OTEL_BSP_MAX_QUEUE_SIZE": 500, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 100}
    with TroubledCollector(protocol) as collector:
        collector.kill()
        variables = environment(provider, collector, **QUICK, **queue)
        out, _ = stage.run(KEPT.replace("{calls}", str(calls)), variables, tmp_path, 3000)
    # How full the queue is varies; how full it gets does not.
    filled, later = json.loads(out)[2:7], json.loads(out)[7:]
    objects, spans, pages = zip(*later, strict=True)
    assert 0 < max(spans) <= 500 + 2 * 100
    assert max(objects) - max(sample[0] for sample in filled) < calls / 10, (
        "of every call some stay"
    )
    assert max(pages) < 1.2 * max(sample[2] for sample in filled)

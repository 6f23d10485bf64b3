"""Every function of a private pipeline fails around live calls: the program does not notice."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry import metrics, trace
from support.models import MESSAGES, User
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.ways import MODEL, make_client

from llm_cache_otel import flush, instrument, reporters
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit.pipeline import ending, private
from llm_cache_otel.later import later
from llm_cache_otel.reporters import Reporters

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}

ON_THE_PATH = (
    *("emit.log.Notes.", "emit.pipeline.", "emit.signals.", "emit.environment.problems"),
    *("later.Later.come_first_at_exit", "later.Later.ready"),
)
TRUSTED = {
    # What runs in a thread or finalizer of ours, and swallows whatever it calls.
    "emit.pipeline.ending.Ending._shut_down",
    "emit.pipeline.ending.Ending._wait_and_shut_down",
    "emit.pipeline.flushing._Flush._run",
    "emit.pipeline.private.PrivateProviders._end",
}
NOT_RUN_HERE = {
    # Around forks and in children (test_forks.py), of what has failed (test_outages.py), at exit, or what
    # takes the place of a bad variable (test_variables.py).
    "emit.pipeline.ending._exit",
    "emit.pipeline.hush._Hush.filter",
    "emit.pipeline.own_exporter.OwnExporter._may_be_sent_again",
    "emit.pipeline.own_exporter.OwnExporter._place",
    "emit.pipeline.own_exporter.OwnExporter.export",  # of spans one by one, as a file may ask for
    "emit.pipeline.own_metrics.OwnMetricExporter._keep",
    "emit.pipeline.own_spans.OwnSpanExporter._oldest",
    "emit.pipeline.own_spans.OwnSpanExporter._send_kept_beside",
    "emit.pipeline.own_spans.OwnSpanExporter.make_room",
    "emit.pipeline.build._OwnMeterProvider._handle_fork",
    "emit.pipeline.build._OwnReader._at_fork_reinit",
    "emit.pipeline.build._OwnTracerProvider._handle_fork",
    "emit.pipeline.outages.Outages.lost",
    "emit.pipeline.own_exporter._Gate.end",
    "emit.pipeline.own_exporter._Gate.pause",
    "emit.pipeline.own_exporter._Gate.resume",
    "emit.pipeline.own_exporter._answered",
    "emit.pipeline.own_exporter._complaint",
    "emit.pipeline.own_exporter._kind",
    "emit.pipeline.own_exporter._status_code",
    "emit.pipeline.own_spans.OwnSpanProcessor.end",
    "emit.pipeline.own_spans.OwnSpanProcessor.pause",
    "emit.pipeline.own_spans.OwnSpanProcessor.resume",
    "emit.pipeline.private.PrivateProviders.end",
    "emit.pipeline.outages.Outages.failed",
    "emit.pipeline.outages.Outages.heard",
    "emit.pipeline.outages.Outages.overflowed",
    "emit.pipeline.outages.Outages.out_of_time",
    "emit.pipeline.fallbacks._Otlp.file",
    "emit.pipeline.fallbacks._http_arguments",
    "emit.pipeline.flushing._Flush.is_running",
    "emit.pipeline.private.PrivateProviders.__init__",
    "emit.pipeline.private.PrivateProviders.out_of_time",
    "emit.pipeline.private.PrivateProviders.pause",
    "emit.pipeline.private.PrivateProviders.resume",
    "emit.log.Notes.debug",
    "emit.log.Notes.warn_once",
    "emit.pipeline.private.note_failure",
}
NOT_RUN_HERE |= {name for name in FUNCTIONS if name.startswith("emit.pipeline.config_file.")}
SABOTAGED = [
    name
    for name in FUNCTIONS
    if name.startswith(ON_THE_PATH) and name not in TRUSTED | NOT_RUN_HERE
]


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.fixture(scope="module")
def module_receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, module_receiver: OtlpReceiver) -> Iterator[None]:
    """A process that has neither providers nor a pipeline yet, as far as we are concerned."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", module_receiver.grpc_endpoint)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    monkeypatch.setattr(reporters, "reporters", Reporters())
    monkeypatch.setattr(private, "_providers", private.PrivateProviders())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", None)
    yield
    for each in ending._endings:
        each.begin()


def program(
    provider: SimulatedProvider,
    observe: Callable[[Any], None],
    set_up_opentelemetry: Callable[[], None],
) -> list[Any]:
    """A call through a pipeline of our own, and one through the application's; what it sees."""
    client = make_client(provider, cache=AutoCache(), cache_namespace="program")
    observe(client)
    seen = [client.create(**REQUEST).model_dump(), client.create(**REQUEST).model_dump()]
    flush(1)
    set_up_opentelemetry()
    seen.append(client.create(**REQUEST).model_dump())
    flush(1)
    client.client.close()
    return seen


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    provider: SimulatedProvider,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL)
    without_us = program(provider, lambda _: None, lambda: None)
    sabotage = Broken(FUNCTIONS[name])

    def observe(client: Any) -> None:
        sabotage.start()
        instrument(client)

    def set_up_opentelemetry() -> None:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", recording.tracer_provider)
        monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", recording.meter_provider)

    try:
        seen = program(provider, observe, set_up_opentelemetry)
        later.wait(5)
        deadline = time.monotonic() + 5
        while not sabotage.runs and time.monotonic() < deadline:
            time.sleep(0.01)  # what happens in threads of the pipeline's
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"


def test_what_is_trusted_or_not_run_exists() -> None:
    """So that the lists above can't go stale."""
    assert set(FUNCTIONS) >= TRUSTED | NOT_RUN_HERE

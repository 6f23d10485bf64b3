"""Where telemetry goes: providers, the standard variables, flushing and exit."""

from __future__ import annotations

import gc
import socket
import time
import weakref

import pytest
from support import programs
from support.books import outcomes
from support.programs import environment

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit.pipeline.flushing import flush_providers

PROGRAM = """
    import sys, logging
    logging.basicConfig(format="LOGGED %(name)s %(message)s")
    import instructor
    from instructor.cache import AutoCache
    from opentelemetry import metrics, trace
    from pydantic import BaseModel
    from llm_cache_otel import flush, instrument

    class User(BaseModel):
        name: str
        age: int

    {before}
    client = instrument(
        instructor.from_provider("openai/gpt-4.1-mini", cache=AutoCache(), max_retries=0, timeout=30)
    )
    for _ in range(3):
        client.create(response_model=User, messages=[{{"role": "user", "content": "Ada"}}])
    {after}
    print("done", trace._TRACER_PROVIDER is None, metrics._internal._METER_PROVIDER is None)
"""


def run(
    provider: SimulatedProvider, variables: dict[str, str], before: str = "", after: str = ""
) -> tuple[str, str]:
    """What a program that calls three times writes to stdout and stderr."""
    indented = {"before": before.replace("\n", "\n    "), "after": after.replace("\n", "\n    ")}
    return programs.run(PROGRAM.format(**indented), environment(provider, **variables))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", None])
def test_a_private_pipeline_from_the_standard_variables(
    protocol: str | None, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    over_http = protocol == "http/protobuf"
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint
        if over_http
        else receiver.grpc_endpoint,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        **({} if protocol is None else {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}),
    }
    out, errors = run(provider, variables)
    assert out.split() == ["done", "True", "True"], "no global is ever set"
    assert outcomes(receiver) == {"hit": 2, "miss": 1}
    assert sorted({span.name for span in receiver.spans}) == [
        *("cache lookup", "cache store", "chat gpt-4.1-mini", "create User")
    ]
    for sent in (*receiver.spans, *receiver.metrics().points):
        assert sent.resource["service.name"] == "shop"
        assert sent.resource["deployment.environment.name"] == "tests"
    assert "LOGGED" not in errors


def test_the_applications_own_providers_are_used_and_ours_is_not_built(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    before = """\
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.metrics import MeterProvider
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda s: s.name + chr(10))))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider())"""
    out, _ = run(provider, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}, before)
    assert out.splitlines().count("create User") == 3
    assert receiver.spans == []
    assert receiver.metrics().points == ()


def test_each_signal_by_itself(provider: SimulatedProvider, receiver: OtlpReceiver) -> None:
    """An application with traces only: metrics are ours, described by the traces' resource."""
    before = """\
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.resources import Resource
trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.name": "traced"})))"""
    run(provider, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}, before)
    assert receiver.spans == []
    assert outcomes(receiver) == {"hit": 2, "miss": 1}
    assert {point.resource["service.name"] for point in receiver.metrics().points} == {"traced"}


@pytest.mark.parametrize(
    ("variables", "spans", "counted"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, False, True),
    ],
    ids=str,
)
def test_signals_that_are_switched_off(
    variables: dict[str, str],
    spans: bool,
    counted: bool,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
) -> None:
    run(provider, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint, **variables})
    assert bool(receiver.spans) == spans
    assert bool(receiver.metrics().points) == counted


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"), ("OTEL_TRACES_EXPORTER", "otlp,pigeon")],
)
def test_a_bad_value_warns_and_falls_back(
    variable: str, value: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint, variable: value}
    _, errors = run(provider, variables)
    assert f"LOGGED llm_cache_otel {variable}" in errors
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3


def test_a_pipeline_that_can_not_be_built_does_not_stop_the_program(
    provider: SimulatedProvider,
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:1",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such/file",
        "OTEL_BSP_SCHEDULE_DELAY": "never",
    }
    out, _ = run(provider, variables)
    assert out.startswith("done")


AFTER_MAIN = """
import threading, time
import instructor, openai
from support.models import MESSAGES, User
from llm_cache_otel import instrument
client = instrument(instructor.from_openai(openai.OpenAI(max_retries=0)))

def work():
    threading.main_thread().join()
    time.sleep(0.2)
    client.create(model="gpt-4.1-mini", messages=MESSAGES, response_model=User)

threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("protocol", programs.PROTOCOLS)
def test_the_first_call_may_come_when_the_main_thread_has_ended(
    protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    variables = environment(provider, receiver, protocol, OTEL_SERVICE_NAME="late")
    programs.run(AFTER_MAIN, variables)
    assert receiver.wait_for(lambda: receiver.metrics().total("llm_cache.requests") == 1, 5)
    creates = [span for span in receiver.spans if span.name == "create User"]
    assert [span.resource["service.name"] for span in creates] == ["late"]


def test_flush_sends_what_there_is(provider: SimulatedProvider, receiver: OtlpReceiver) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}
    after = (
        "import os\nprint('flushed', flush(10), flush=True)\nos._exit(0)  # as a frozen function"
    )
    out, _ = run(provider, variables, after=after)
    assert out.split() == ["flushed", "True"]
    assert outcomes(receiver) == {"hit": 2, "miss": 1}
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3


def test_what_has_been_flushed_is_let_go() -> None:
    """Providers that nothing goes to any more are not held by the last time that they were flushed."""

    class Provider:
        def force_flush(self) -> bool:
            return True

    provider = Provider()
    assert flush_providers([provider], time.monotonic() + 10) == []
    held = weakref.ref(provider)
    del provider
    gc.collect()
    assert held() is None


def test_nobody_listening_is_told_by_flush_and_does_not_hold_up_exit(
    provider: SimulatedProvider,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "LLM_CACHE_OTEL_EXIT_TIMEOUT": "0.2"}
    after = "print('flushed', flush(0.5))"
    out, errors = run(provider, variables, after=after)
    assert out.split()[:2] == ["flushed", "False"]
    assert "Traceback" not in errors

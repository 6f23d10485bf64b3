"""Where telemetry goes: providers, the standard variables, flushing and exit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap

import pytest

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

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
    provider: SimulatedProvider, environment: dict[str, str], before: str = "", after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program that calls three times, with nothing else of this environment's OTEL_*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    kept |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": provider.openai_url, "NO_PROXY": "*"}
    indented = {"before": before.replace("\n", "\n    "), "after": after.replace("\n", "\n    ")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM.format(**indented))],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def outcomes(receiver: OtlpReceiver) -> dict[str, float]:
    metrics = receiver.metrics()
    return {
        outcome: metrics.total("llm_cache.requests", {"llm_cache.outcome": outcome})
        for (outcome,) in metrics.values("llm_cache.requests", "llm_cache.outcome")
    }


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", None])
def test_a_private_pipeline_from_the_standard_variables(
    protocol: str | None, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    over_http = protocol == "http/protobuf"
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint
        if over_http
        else receiver.grpc_endpoint,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        **({} if protocol is None else {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}),
    }
    done = run(provider, environment)
    assert done.stdout.split() == ["done", "True", "True"], "no global is ever set"
    assert outcomes(receiver) == {"hit": 2, "miss": 1}
    assert sorted({span.name for span in receiver.spans}) == [
        *("cache lookup", "cache store", "chat gpt-4.1-mini", "create User")
    ]
    for sent in (*receiver.spans, *receiver.metrics().points):
        assert sent.resource["service.name"] == "shop"
        assert sent.resource["deployment.environment.name"] == "tests"
    assert "LOGGED" not in done.stderr


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
    done = run(provider, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}, before)
    assert done.stdout.splitlines().count("create User") == 3
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
    ("environment", "spans", "counted"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, False, True),
    ],
    ids=str,
)
def test_signals_that_are_switched_off(
    environment: dict[str, str],
    spans: bool,
    counted: bool,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
) -> None:
    run(provider, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint, **environment})
    assert bool(receiver.spans) == spans
    assert bool(receiver.metrics().points) == counted


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"), ("OTEL_TRACES_EXPORTER", "otlp,pigeon")],
)
def test_a_bad_value_warns_and_falls_back(
    variable: str, value: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint, variable: value}
    done = run(provider, environment)
    assert f"LOGGED llm_cache_otel {variable}" in done.stderr
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3


def test_a_pipeline_that_can_not_be_built_does_not_stop_the_program(
    provider: SimulatedProvider,
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:1",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such/file",
        "OTEL_BSP_SCHEDULE_DELAY": "never",
    }
    done = run(provider, environment)
    assert done.stdout.startswith("done")


def test_flush_sends_what_there_is(provider: SimulatedProvider, receiver: OtlpReceiver) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}
    after = (
        "import os\nprint('flushed', flush(10), flush=True)\nos._exit(0)  # as a frozen function"
    )
    done = run(provider, environment, after=after)
    assert done.stdout.split() == ["flushed", "True"]
    assert outcomes(receiver) == {"hit": 2, "miss": 1}
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3


def test_nobody_listening_is_told_by_flush_and_does_not_hold_up_exit(
    provider: SimulatedProvider,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "LLM_CACHE_OTEL_EXIT_TIMEOUT": "0.2"}
    after = "print('flushed', flush(0.5))"
    done = run(provider, environment, after=after)
    assert done.stdout.split()[:2] == ["flushed", "False"]
    assert "Traceback" not in done.stderr

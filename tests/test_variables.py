"""The standard `OTEL_*` variables, good and bad, in programs that set up no OpenTelemetry."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from support import programs
from support.programs import PROTOCOLS, run

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

environment = functools.partial(programs.environment, TALLY=os.devnull)

CALLS = """
    import logging
    logging.basicConfig(format="LOGGED %(name)s %(levelname)s %(message)s")
    from opentelemetry import metrics, trace
    from support.caller import Caller

    Caller()("Ada", "Ada", "Bob")
    print(trace._TRACER_PROVIDER, metrics._internal._METER_PROVIDER)
"""
BAD = {
    "grpc": {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "brotli",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "zstd",
        "OTEL_EXPORTER_OTLP_HEADERS": "no header, secret",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such/file",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "no/such/file",
        "OTEL_EXPORTER_OTLP_INSECURE": "false",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": "nobody",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": "ALL",
        "OTEL_TRACES_EXPORTER": "otlp,pigeon",
        "OTEL_CONFIG_FILE": "no/such/file",
    },
    "http/protobuf": {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "-1",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "brotli",
        "OTEL_EXPORTER_OTLP_HEADERS": "no header, secret",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such/file",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "no/such/file",
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "nobody",
        "OTEL_METRICS_EXPORTER": "otlp,pigeon",
    },
}
BAD_FOR_BOTH = {
    "OTEL_BSP_SCHEDULE_DELAY": "never",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5000",
    "OTEL_METRIC_EXPORT_INTERVAL": "-1",
    "OTEL_METRICS_EXEMPLAR_FILTER": "some",
    "OTEL_TRACES_SAMPLER": "sometimes",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "few",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "-1",
    "OTEL_PYTHON_ID_GENERATOR": "dice",
    "OTEL_PYTHON_METER_PROVIDER": "nobody",
    "OTEL_RESOURCE_ATTRIBUTES": "team",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bad_values_are_each_told_once_and_done_without(
    protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    bad = BAD[protocol] | BAD_FOR_BOTH
    out, errors = run(CALLS, environment(provider, receiver, protocol, **bad))
    assert out.split() == ["None", "None"], "no global is ever set"
    for variable in bad:
        told = f"LOGGED llm_cache_otel WARNING {variable} "
        assert errors.count(told) == 1, f"{variable}\n{errors}"
    assert errors.count("WARNING") == len(bad)
    assert "opentelemetry." not in errors
    assert "secret" not in errors
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3
    assert receiver.metrics().total("llm_cache.requests") == 3


def test_a_value_that_ends_its_signal_leaves_the_other(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    """The exporter over gRPC reads this one, whatever it is told instead."""
    bad = {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon"}
    _, errors = run(CALLS, environment(provider, receiver, **bad))
    assert "WARNING OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is 'soon'" in errors
    assert "WARNING llm-cache-otel can't export traces (ValueError)" in errors
    assert receiver.spans == []
    assert receiver.metrics().total("llm_cache.requests") == 3


def test_a_value_that_the_sdk_can_not_be_imported_with(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    _, errors = run(CALLS, environment(provider, receiver, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="few"))
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in errors


CONFIGURATION = """
file_format: "1.0"
resource:
  attributes:
    - {{name: service.name, value: from-a-file}}
tracer_provider:
  processors:
    - batch: {{schedule_delay: 100, exporter: {{otlp_grpc: {{endpoint: "{endpoint}"}}}}}}
  sampler: {{always_on: }}
meter_provider:
  readers:
    - periodic: {{interval: 100, exporter: {{otlp_grpc: {{endpoint: "{endpoint}"}}}}}}
"""


def test_the_declarative_configuration_file(
    provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    file = tmp_path / "opentelemetry.yaml"
    file.write_text(CONFIGURATION.format(endpoint=receiver.grpc_endpoint))
    unused = {"OTEL_SERVICE_NAME": "not-read", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9"}
    out, errors = run(CALLS, environment(provider, OTEL_CONFIG_FILE=file, **unused))
    assert out.split() == ["None", "None"], "no global is ever set"
    assert "LOGGED" not in errors
    sent = [*receiver.spans, *receiver.metrics().points]
    assert {each.resource["service.name"] for each in sent} == {"from-a-file"}
    assert len({each.resource["service.instance.id"] for each in sent}) == 1
    assert len([span for span in receiver.spans if span.name == "create User"]) == 3
    assert receiver.metrics().total("llm_cache.requests") == 3


def test_a_declarative_configuration_file_that_can_not_be_used(
    provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    file = tmp_path / "opentelemetry.yaml"
    file.write_text("file_format: none\ntracer_provider: 7\n")
    _, errors = run(CALLS, environment(provider, receiver, OTEL_CONFIG_FILE=file))
    assert errors.count("LOGGED llm_cache_otel WARNING OTEL_CONFIG_FILE can't be used") == 1
    assert errors.count("WARNING") == 1
    assert receiver.metrics().total("llm_cache.requests") == 3


def test_what_else_the_sdk_reads(provider: SimulatedProvider, receiver: OtlpReceiver) -> None:
    """Headers, compression, resource detectors, samplers and temporality, as it reads them."""
    variables = {
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    }
    _, errors = run(CALLS, environment(provider, receiver, **variables))
    assert "LOGGED" not in errors
    assert receiver.spans == []
    points = receiver.metrics().matching("llm_cache.requests")
    assert sum(point.value for point in points) == 3
    assert {point.is_delta for point in points} == {True}
    assert {point.resource["deployment.environment.name"] for point in points} == {"tests"}
    assert all("process.pid" in point.resource for point in points)


@pytest.mark.parametrize("given", [None, "pod-7"])
def test_every_process_is_an_instance_of_its_own(
    given: str | None, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    attributes = (
        {} if given is None else {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={given}"}
    )
    program = CALLS + "    import os; print(os.getpid())"
    pids = [
        run(program, environment(provider, receiver, **attributes))[0].split()[-1] for _ in range(2)
    ]
    sent = [*receiver.spans, *receiver.metrics().points]
    ids = {each.resource["service.instance.id"] for each in sent}
    if given is None:
        assert len(ids) == 2
    else:
        assert ids == {f"{given}-{pid}" for pid in pids}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_secret_in_a_variable_is_in_no_warning(
    protocol: str, provider: SimulatedProvider
) -> None:
    """Nobody listens there, and each exporter would quote it in what it says of that."""
    secrets = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:MARKER1@127.0.0.1:9/x?key=MARKER2",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=MARKER3%0Aabc",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "authorization=MARKER4",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": 1,
    }
    _, errors = run(CALLS, environment(provider, **secrets))
    assert "deliver" in errors
    assert "MARKER" not in errors

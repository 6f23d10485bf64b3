"""What is said of bad `OTEL_*` values, and that the SDK and the exporters really mind them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk import _configuration as sdk_configuration
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.emit.environment import problems

OTLP = "OTEL_EXPORTER_OTLP_"
HTTP = {f"{OTLP}PROTOCOL": "http/protobuf"}
RETRIED = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"
GRPC_PROVIDER = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER"
HTTP_PROVIDER = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER"
AGGREGATION = f"{OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
TEMPORALITY = f"{OTLP}METRICS_TEMPORALITY_PREFERENCE"

Setting = Callable[[Mapping[str, str]], None]


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Sets these variables, and no other `OTEL_*` ones."""

    def set_(environment: Mapping[str, str]) -> None:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return set_


class Heard(logging.Handler):
    """What the SDK says while it is listened to."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("opentelemetry").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("opentelemetry").removeHandler(self)


def minds(environment: Mapping[str, str]) -> str:
    """What the SDK says or raises when all that reads the variables is built from them."""
    over_http = environment.get(f"{OTLP}PROTOCOL") == "http/protobuf"
    with Heard() as heard, ExitStack() as built:
        try:
            sdk_configuration._import_exporters(
                *(sdk_configuration._get_exporter_names(of) for of in ("traces", "metrics", "logs"))
            )
            sdk_configuration._import_id_generator(sdk_configuration._get_id_generator())
            for kind in (HttpSpans, HttpMetrics) if over_http else (GrpcSpans, GrpcMetrics):
                built.callback(kind().shutdown)
            built.callback(BatchSpanProcessor(ConsoleSpanExporter()).shutdown)
            TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
            reader = PeriodicExportingMetricReader(ConsoleMetricExporter())
            built.callback(MeterProvider([reader], shutdown_on_exit=False).shutdown)
        except Exception as error:
            return repr(error)
    return "; ".join(heard.messages)


def named(environment: Mapping[str, str]) -> set[str]:
    found = problems(environment)
    for problem in found:
        assert problem.text.startswith(problem.variable)
        assert problem.text.endswith(".")
    return {problem.variable for problem in found}


MINDED: list[tuple[str, str | None, Mapping[str, str]]] = [
    ("OTEL_TRACES_EXPORTER", "otlp,pigeon", {}),
    ("OTEL_METRICS_EXPORTER", "pigeon", {}),
    (f"{OTLP}PROTOCOL", "http/json", {"OTEL_TRACES_EXPORTER": "otlp"}),
    (f"{OTLP}TRACES_PROTOCOL", "GRPC", {"OTEL_TRACES_EXPORTER": "otlp"}),
    (f"{OTLP}ENDPOINT", "http://[::1:4317", {}),
    (f"{OTLP}HEADERS", "a=1,secret", {}),
    (f"{OTLP}TRACES_HEADERS", "a=secret;b=2", HTTP),
    (f"{OTLP}HEADERS", " ", {}),
    (f"{OTLP}TIMEOUT", "10s", {}),
    (f"{OTLP}TIMEOUT", "10s", HTTP),
    (f"{OTLP}TIMEOUT", "", {}),
    (f"{OTLP}TRACES_TIMEOUT", "", {}),
    (f"{OTLP}METRICS_TIMEOUT", "ten", {}),
    (f"{OTLP}COMPRESSION", "brotli", {}),
    (f"{OTLP}COMPRESSION", "none", {}),
    (f"{OTLP}COMPRESSION", "", {}),
    (f"{OTLP}TRACES_COMPRESSION", "deflate", {}),
    (f"{OTLP}METRICS_COMPRESSION", "brotli", HTTP),
    (TEMPORALITY, "low", {}),
    (TEMPORALITY, "", HTTP),
    (AGGREGATION, "BASE2_EXPONENTIAL_BUCKET_HISTOGRAM", {}),
    (AGGREGATION, "exponential", HTTP),
    (RETRIED, "14", {}),
    (GRPC_PROVIDER, "nobody", {f"{OTLP}ENDPOINT": "https://localhost"}),
    (HTTP_PROVIDER, "nobody", HTTP),
    ("OTEL_BSP_SCHEDULE_DELAY", "0", {}),
    ("OTEL_BSP_SCHEDULE_DELAY", "", {}),
    ("OTEL_BSP_EXPORT_TIMEOUT", "30s", {}),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "1e3", {}),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", {}),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3000", {}),
    ("OTEL_METRIC_EXPORT_INTERVAL", "0", {}),
    ("OTEL_METRIC_EXPORT_INTERVAL", "60s", {}),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "", {}),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "ALWAYS_ON", {}),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "", {}),
    ("OTEL_TRACES_SAMPLER", "sometimes", {}),
    ("OTEL_TRACES_SAMPLER", "", {}),
    ("OTEL_TRACES_SAMPLER_ARG", "50%", {"OTEL_TRACES_SAMPLER": "traceidratio"}),
    ("OTEL_TRACES_SAMPLER_ARG", None, {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1", {}),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long", {}),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", {}),
    ("OTEL_RESOURCE_ATTRIBUTES", "=b", {}),
    ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process,nobody", {}),
    ("OTEL_PYTHON_ID_GENERATOR", "nobody", {}),
    ("OTEL_PYTHON_ID_GENERATOR", "", {}),
    ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "1", {}),
]
"""A variable's bad value (or its lack), and other variables that it takes for it to be bad."""


@pytest.mark.parametrize(("variable", "value", "others"), MINDED, ids=str)
def test_what_the_sdk_minds_is_named_and_only_that(
    variable: str, value: str | None, others: Mapping[str, str], setting: Setting
) -> None:
    bad = {**others, variable: value} if value is not None else dict(others)
    setting(bad)
    assert minds(bad)
    assert named(bad) == {variable}
    assert "secret" not in repr(problems(bad))
    if "SAMPLER" not in repr(others):
        setting(others)
        assert minds(others) == ""
        assert named(others) == set()


GOOD: Mapping[str, list[str]] = {
    "OTEL_SDK_DISABLED": ["true", " FALSE", ""],
    "OTEL_TRACES_EXPORTER": ["otlp", "none", "console", "otlp_proto_http", ""],
    "OTEL_METRICS_EXPORTER": ["otlp", "none", "console,otlp", ""],
    f"{OTLP}PROTOCOL": ["grpc", "http/protobuf", ""],
    f"{OTLP}ENDPOINT": ["http://localhost:4317", "https://otel.example.com", "http://[::1]:4317/x"],
    f"{OTLP}TRACES_ENDPOINT": ["HTTPS://localhost:1", "unix:///run/otel", "dns:///otel:4317", ""],
    f"{OTLP}HEADERS": ["a=b", "authorization=Basic%20dTpw==,x-y=", "a=b c,", ""],
    f"{OTLP}TIMEOUT": ["10", "0.5", " 5 "],
    f"{OTLP}COMPRESSION": ["gzip", " GZIP"],
    f"{OTLP}INSECURE": ["true", "TRUE"],
    TEMPORALITY: ["delta", " LowMemory", "cumulative"],
    AGGREGATION: ["explicit_bucket_histogram", "base2_exponential_bucket_histogram"],
    RETRIED: ["unavailable, ABORTED"],
    "OTEL_BSP_SCHEDULE_DELAY": ["1", " 5000 "],
    "OTEL_BSP_EXPORT_TIMEOUT": ["0", "30000"],
    "OTEL_BSP_MAX_QUEUE_SIZE": ["512"],
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ["2048"],
    "OTEL_METRIC_EXPORT_INTERVAL": ["1000", "5e3"],
    "OTEL_METRIC_EXPORT_TIMEOUT": ["500.5"],
    "OTEL_METRICS_EXEMPLAR_FILTER": ["always_on", "always_off", "trace_based"],
    "OTEL_TRACES_SAMPLER": ["always_off", "PARENTBASED_ALWAYS_ON"],
    "OTEL_ATTRIBUTE_COUNT_LIMIT": ["0", "128", ""],
    "OTEL_SPAN_LINK_COUNT_LIMIT": ["5"],
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ["4096", ""],
    "OTEL_RESOURCE_ATTRIBUTES": ["a=b,c=d%2Ce", "a=", ""],
    "OTEL_SERVICE_NAME": ["shop", ""],
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": ["process,os,host", "*", ""],
    "OTEL_PYTHON_ID_GENERATOR": ["random"],
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": ["true", "False"],
    "OTEL_CONFIG_FILE": [""],
}


@pytest.mark.parametrize("variable", GOOD)
def test_good_values_are_no_problem_to_anyone(variable: str, setting: Setting) -> None:
    for value in GOOD[variable]:
        good = {variable: value}
        assert problems(good) == []
        setting(good)
        if value not in {"unix:///run/otel", ""} and variable != "OTEL_PYTHON_ID_GENERATOR":
            assert minds(good) == ""


@pytest.mark.parametrize(
    "good",
    [
        {},
        {**HTTP, f"{OTLP}COMPRESSION": "deflate", f"{OTLP}TIMEOUT": ""},
        {**HTTP, f"{OTLP}ENDPOINT": "http://u:p@localhost", f"{OTLP}METRICS_COMPRESSION": "none"},
        {**HTTP, AGGREGATION: "Base2_Exponential_Bucket_Histogram", f"{OTLP}HEADERS": "a=%C3%A9"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"},
        {f"{OTLP}ENDPOINT": "localhost:4317", f"{OTLP}INSECURE": "true"},
        {f"{OTLP}TRACES_ENDPOINT": "localhost:4317", f"{OTLP}INSECURE": "false"}
        | {f"{OTLP}METRICS_ENDPOINT": "localhost:4317"},
    ],
    ids=str,
)
def test_good_values_together_are_no_problem_to_anyone(
    good: Mapping[str, str], setting: Setting
) -> None:
    assert problems(good) == []
    setting(good)
    assert minds(good) == ""


def test_what_is_not_exported_over_otlp_needs_no_otlp_variables() -> None:
    off = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}
    assert problems({**off, f"{OTLP}ENDPOINT": "nowhere", f"{OTLP}COMPRESSION": "x"}) == []
    assert named({"OTEL_TRACES_EXPORTER": "otlp_proto_http", f"{OTLP}TRACES_TIMEOUT": ""}) == set()


def sent(environment: Mapping[str, str], set_: Setting, receiver: OtlpReceiver) -> bool:
    """Whether a span arrives that is exported as the environment says."""
    set_(environment)
    kind: Any = HttpSpans if environment.get(f"{OTLP}PROTOCOL") == "http/protobuf" else GrpcSpans
    before = len(receiver.spans)
    exporter = kind()
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        span.end()
        SimpleSpanProcessor(exporter).on_end(span)
    exporter.shutdown()
    return len(receiver.spans) > before


@pytest.mark.parametrize(
    ("variable", "value", "others"),
    [
        (f"{OTLP}ENDPOINT", "{host}", {}),
        (f"{OTLP}ENDPOINT", "{host}", HTTP),
        (f"{OTLP}ENDPOINT", "grpc://{host}", {}),
        (f"{OTLP}ENDPOINT", "'http://{host}'", {}),
        (f"{OTLP}ENDPOINT", "http://{host} ", HTTP),
        (f"{OTLP}ENDPOINT", "http://", {}),
        (f"{OTLP}ENDPOINT", "http:/{host}", HTTP),
        (f"{OTLP}ENDPOINT", "http://{host}x", HTTP),
        (f"{OTLP}ENDPOINT", "http://user:password@{host}", {}),
        (f"{OTLP}ENDPOINT", "http://127.0.0.1", {}),
        (f"{OTLP}ENDPOINT", "", {}),
        (f"{OTLP}INSECURE", "false", {}),
        (f"{OTLP}INSECURE", "", {}),
        (f"{OTLP}TRACES_INSECURE", "0", {}),
        (f"{OTLP}TIMEOUT", "0", HTTP),
        (f"{OTLP}TIMEOUT", "-1", HTTP),
        (f"{OTLP}HEADERS", "x^y=secret", {}),
        (f"{OTLP}HEADERS", "a=1,x=%C3%A9secret", {}),
        (f"{OTLP}HEADERS", "x-bin=secret", {}),
        (f"{OTLP}HEADERS", "x=secret%0Ay", HTTP),
        (f"{OTLP}HEADERS", "x=%E2%82%ACsecret", HTTP),
    ],
    ids=str,
)
def test_what_keeps_a_span_from_arriving_is_named(
    variable: str,
    value: str,
    others: Mapping[str, str],
    setting: Setting,
    receiver: OtlpReceiver,
) -> None:
    endpoint = receiver.http_endpoint if others == HTTP else receiver.grpc_endpoint
    good = {f"{OTLP}ENDPOINT": endpoint, **others}
    bad = {**good, variable: value.format(host=endpoint.removeprefix("http://"))}
    quick = {} if variable == f"{OTLP}TIMEOUT" else {f"{OTLP}TIMEOUT": "0.5"}
    assert sent({**good, **quick}, setting, receiver)
    assert not sent({**bad, **quick}, setting, receiver)
    assert named(bad) == {variable}
    assert "password" not in repr(problems(bad))
    assert "secret" not in repr(problems(bad))


def test_what_the_sdk_takes_quietly_for_something_else_is_named(setting: Setting) -> None:
    setting({"OTEL_SDK_DISABLED": "yes"})
    assert not TracerProvider(shutdown_on_exit=False)._disabled
    assert named({"OTEL_SDK_DISABLED": "yes"}) == {"OTEL_SDK_DISABLED"}

    setting({"OTEL_TRACES_SAMPLER_ARG": "0.1"})
    description = TracerProvider(shutdown_on_exit=False).sampler.get_description()
    assert "0.1" not in description
    assert named({"OTEL_TRACES_SAMPLER_ARG": "0.1"}) == {"OTEL_TRACES_SAMPLER_ARG"}

    setting({f"{OTLP}TIMEOUT": "10000", RETRIED: ""})
    exporter = GrpcSpans()
    exporter.shutdown()
    assert exporter._timeout == 10_000, "hours, where ten seconds were meant"
    assert exporter._retryable_error_codes == frozenset(), "nothing is tried again"
    assert named({f"{OTLP}TIMEOUT": "10000", RETRIED: ""}) == {f"{OTLP}TIMEOUT", RETRIED}


def test_a_meter_provider_that_is_not_installed_is_named() -> None:
    """In a process of its own, where the API has no global provider yet."""
    build = (
        "from opentelemetry.sdk.trace.export import *; BatchSpanProcessor(ConsoleSpanExporter())"
    )
    for value in ("nobody", ""):
        bad = {"OTEL_PYTHON_METER_PROVIDER": value}
        done = subprocess.run(
            [sys.executable, "-c", build], env=bad, capture_output=True, text=True
        )
        assert "StopIteration" in done.stderr
        assert named(bad) == set(bad)


def test_a_configuration_file_that_can_not_be_read_is_named(
    tmp_path: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"OTEL_CONFIG_FILE": str(tmp_path / "none.yaml")}
    assert named(missing) == set(missing)
    there = tmp_path / "otel.yaml"
    there.write_text("file_format: '1.0'")
    unread = {"OTEL_CONFIG_FILE": str(there)}
    monkeypatch.setitem(sys.modules, "opentelemetry.configuration", None)
    setting(unread)
    with pytest.raises(RuntimeError, match="not installed"):
        sdk_configuration._OTelSDKConfigurator()._configure()
    assert named(unread) == set(unread)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    (tmp_path / "not.pem").write_text("no certificate")
    return tmp_path


EXPORT = """
import logging, sys
logging.basicConfig()
from opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(timeout=0.2)))
provider.get_tracer("t").start_span("s").end()
print("alive")
"""


@pytest.mark.parametrize(
    ("protocol", "given", "said", "problem"),
    [
        ("grpc", {"CERTIFICATE": "none.pem"}, "Failed to read file", "CERTIFICATE"),
        ("grpc", {"CERTIFICATE": ""}, "IsADirectoryError", "CERTIFICATE"),
        ("grpc", {"CERTIFICATE": "not.pem"}, "root certificate", "CERTIFICATE"),
        ("http", {"CERTIFICATE": "none.pem"}, "invalid path", "CERTIFICATE"),
        ("grpc", {"CERTIFICATE": "ca.pem", "CLIENT_KEY": "key.pem"}, "SIGABRT", "CLIENT_KEY"),
        ("grpc", {"CERTIFICATE": "ca.pem", "CLIENT_CERTIFICATE": "cert.pem"}, "SIGABRT", None),
        ("http", {"CLIENT_CERTIFICATE": "none.pem", "CLIENT_KEY": "key.pem"}, "invalid path", None),
    ],
    ids=str,
)
def test_a_file_that_is_of_no_use_is_named(
    protocol: str, given: Mapping[str, str], said: str, problem: str | None, files: Path
) -> None:
    names = {f"{OTLP}{kind}": str(files / name) for kind, name in given.items()}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}"
        environment = {f"{OTLP}ENDPOINT": endpoint, "GRPC_VERBOSITY": "ERROR", **names}
        done = subprocess.run(
            [sys.executable, "-c", EXPORT.format(protocol=protocol)],
            env=environment,
            capture_output=True,
            text=True,
        )
    if said == "SIGABRT":
        assert done.returncode == -6, "gRPC ends the process"
    else:
        assert said in done.stderr
    protocols = HTTP if protocol == "http" else {}
    assert named({**environment, **protocols}) == {f"{OTLP}{problem or 'CLIENT_CERTIFICATE'}"}


def test_files_that_serve_are_no_problem(files: Path) -> None:
    ca, cert, key = (str(files / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    three = {f"{OTLP}CERTIFICATE": ca, f"{OTLP}CLIENT_CERTIFICATE": cert, f"{OTLP}CLIENT_KEY": key}
    assert problems(three) == problems({**three, **HTTP}) == []
    one_file = {f"{OTLP}CLIENT_CERTIFICATE": str(files / "both.pem")}
    assert problems({**HTTP, **one_file}) == []
    apart = {f"{OTLP}TRACES_CLIENT_CERTIFICATE": cert, f"{OTLP}CLIENT_KEY": key}
    assert problems({**HTTP, **apart}) == []


def test_a_client_certificate_without_its_key_is_named_over_http(
    files: Path, setting: Setting
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}"
        bad = {**HTTP, f"{OTLP}CLIENT_CERTIFICATE": str(files / "cert.pem")}
        setting(bad)
        exporter = HttpSpans()
        answer = exporter._client._transport.request("POST", endpoint, timeout=0.2)
        exporter.shutdown()
    assert "PEM lib" in repr(answer.error)
    assert named(bad) == {f"{OTLP}CLIENT_CERTIFICATE"}


def test_a_client_certificate_that_grpc_does_not_read_is_named(
    files: Path, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {f"{OTLP}CLIENT_CERTIFICATE": str(files / "cert.pem")}
    pair[f"{OTLP}CLIENT_KEY"] = str(files / "key.pem")
    setting({f"{OTLP}ENDPOINT": "https://localhost:1", **pair})
    read: list[object] = []
    module = sys.modules["opentelemetry.exporter.otlp.proto.grpc.exporter"]
    monkeypatch.setattr(module, "_read_file", lambda path: read.append(path))
    GrpcSpans().shutdown()
    assert read == []
    assert named(pair) == {f"{OTLP}CLIENT_CERTIFICATE"}


def test_hostile_values_are_told_shortly_and_without_what_is_secret() -> None:
    hostile = "http://user:pass@word@" + "x" * 5_000 + "\n?token=secret"
    for variable in (f"{OTLP}ENDPOINT", f"{OTLP}CERTIFICATE", "OTEL_TRACES_SAMPLER"):
        (problem,) = problems({variable: hostile})
        assert len(problem.text) < 500
        assert "\n" not in problem.text
        for secret in ("user", "pass", "word@", "secret"):
            assert secret not in problem.text

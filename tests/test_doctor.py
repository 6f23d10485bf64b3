"""The real `doctor` command against real servers that do what it has to find out."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llm_cache_otel.cli.doctor import connections
from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.finding import Attempt
from llm_cache_otel.cli.doctor.otlp import otlp
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.emit.pipeline.exporters import exporters

OTLP = "OTEL_EXPORTER_OTLP_"
ENDPOINT = f"{OTLP}ENDPOINT"
HTTP = {f"{OTLP}PROTOCOL": "http/protobuf"}
NAMED = {"OTEL_SERVICE_NAME": "shop"}
MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
TRACES_ONLY = {"OTEL_METRICS_EXPORTER": "none"}
NOW = datetime.now(UTC)
RULE = "──"


@dataclass(frozen=True)
class Case:
    """An environment, and what has to be said of it, whatever the lines' ends."""

    environment: Mapping[str, str]
    says: tuple[str, ...]
    exit_code: int = 1
    never: tuple[str, ...] = ()
    timeout: str = "5"


def each(traces: Mapping[str, str], metrics: Mapping[str, str]) -> dict[str, str]:
    """One environment in which each signal has variables of its own, to save a process."""
    environment = {}
    for signal, ones in (("traces", traces), ("metrics", metrics)):
        path = f"/v1/{signal}" if ones.get(f"{OTLP}PROTOCOL") == "http/protobuf" else ""
        for name, value in ones.items():
            own = name.replace(OTLP, f"{OTLP}{signal.upper()}_")
            environment[own] = value + path if name == ENDPOINT else value
    return environment


def doctor(
    environment: Mapping[str, str], *arguments: str, columns: int = 200
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "llm_cache_otel", "doctor", *arguments],
        env={"COLUMNS": str(columns), **NAMED, **MEASURED, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def said(output: str) -> str:
    return " ".join(re.sub("─+", RULE, output).split())


def check(*cases: Case) -> None:
    """All of them at once, as each is a process."""
    with ThreadPoolExecutor(4) as pool:
        all_done = list(
            pool.map(lambda case: doctor(case.environment, f"--timeout={case.timeout}"), cases)
        )
    for case, done in zip(cases, all_done, strict=True):
        assert (done.returncode, done.stderr) == (case.exit_code, ""), done.stdout
        for text in case.says:
            assert text in said(done.stdout), done.stdout
        for text in ("Traceback", *case.never):
            assert text not in done.stdout


@pytest.fixture(scope="module")
def shared() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def host_and_port(url: str) -> str:
    return url.partition("://")[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def http_server(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    tls: ssl.SSLContext | None = None,
    skew: timedelta = timedelta(),
) -> Iterator[str]:
    """Answers every request, one to a proxy included, in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response_only(status)
            date = format_datetime(datetime.now(UTC) + skew)
            for name, value in {"Date": date, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_CONNECT = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_server(
    code: grpc.StatusCode | None = None,
    message: str = "",
    *,
    response: Any = None,
    credentials: grpc.ServerCredentials | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Iterator[str]:
    """Answers every call in the same way."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata(metadata)
        if code is not None:
            context.abort(code, message)
        return b"" if response is None else bytes(response.SerializeToString())

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: object) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=(Handler(),))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"{'http' if credentials is None else 'https'}://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def http_2_server(status: int) -> Iterator[str]:
    """Answers the first request of every connection over HTTP/2 that is not gRPC."""
    fields = {404: b"\x8d", 500: b"\x8e"}  # :status, in HPACK's static table

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            self.wfile.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            while head := self.rfile.read(9):
                self.rfile.read(int.from_bytes(head[:3], "big"))
                if head[3] == 1:  # the request's headers: answered by headers that end the stream
                    self.wfile.write(bytes((0, 0, 1, 1, 5)) + head[5:] + fields[status])

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Authority:
    """Certificates for servers on 127.0.0.1, and the file with which they are trusted."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.file = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)
        leaf = self._ca.issue_cert("client")
        self.client_key, self.client_certificate = (
            str(directory / name) for name in ("key.pem", "cert.pem")
        )
        leaf.private_key_pem.write_to_path(self.client_key)
        leaf.cert_chain_pems[0].write_to_path(self.client_certificate)

    def grpc(self, *names: str, for_client: bool = False, **days: int) -> grpc.ServerCredentials:
        leaf = self._issue(names, days)
        chain = leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()
        clients = self._ca.cert_pem.bytes() if for_client else None
        return grpc.ssl_server_credentials([chain], clients, for_client)

    def http(self, *names: str, **days: int) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issue(names, days).configure_cert(context)
        return context

    def _issue(self, names: tuple[str, ...], days: Mapping[str, int]) -> trustme.LeafCert:
        times = {name: NOW + timedelta(days=number) for name, number in days.items()}
        return self._ca.issue_cert(*(names or ("127.0.0.1",)), **times)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_is_sent_and_accepted(protocol: str, receiver: OtlpReceiver) -> None:
    over_http = protocol == "http/protobuf"
    endpoint = receiver.http_endpoint if over_http else receiver.grpc_endpoint
    environment = {
        ENDPOINT: endpoint,
        f"{OTLP}PROTOCOL": protocol,
        f"{OTLP}HEADERS": "authorization=Bearer%20top-secret,x-tenant=blue",
        f"{OTLP}COMPRESSION": "gzip",
        f"{OTLP}TRACES_TIMEOUT": "7",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    }
    done = doctor(environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (span,) = receiver.spans
    (point,) = receiver.metrics().points
    assert (span.name, point.metric) == ("llm-cache-otel doctor", "llm_cache_otel.doctor.tests")
    assert span.resource["service.name"] == point.resource["service.name"] == "shop"
    assert {span.scope, point.scope} == {"llm_cache_otel"}
    rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    for row in (
        ["protocol", protocol, f"{OTLP}PROTOCOL"],
        ["headers", "authorization, x-tenant", f"{OTLP}HEADERS"],
        ["compression", "gzip", f"{OTLP}COMPRESSION"],
        ["timeout, traces", "7 s", f"{OTLP}TRACES_TIMEOUT"],
        ["timeout, metrics", "10 s", "default"],
        ["sampler, traces", "traceidratio 0.5", "OTEL_TRACES_SAMPLER"],
        ["sent every, metrics", "15 s", "OTEL_METRIC_EXPORT_INTERVAL"],
        ["proxy", "none", "default"],
        ["service.name", "shop", "OTEL_SERVICE_NAME"],
    ):
        assert row in rows, done.stdout
    assert endpoint in done.stdout
    assert done.stdout.count("accepted") == 3
    assert "What is wrong" not in done.stdout
    assert "Everything was accepted." in said(done.stdout)
    assert "secret" not in done.stdout
    assert re.search(r"instructor==\d", done.stdout)


def test_the_wrong_protocol_or_port(shared: OtlpReceiver) -> None:
    grpc_at, http_at = host_and_port(shared.grpc_endpoint), host_and_port(shared.http_endpoint)
    check(
        Case(
            {ENDPOINT: shared.http_endpoint},
            (
                f"traces and metrics: {http_at} speaks http/protobuf, but was sent grpc",
                f"Set {OTLP}PROTOCOL=http/protobuf, or {ENDPOINT}=http://127.0.0.1:4317.",
            ),
        ),
        Case(
            {**HTTP, f"{OTLP}TRACES_ENDPOINT": shared.grpc_endpoint, **TRACES_ONLY},
            (
                f"{grpc_at} speaks grpc, but was sent http/protobuf",
                f"Set {OTLP}PROTOCOL=grpc, or {OTLP}TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces.",
                "the answer is no HTTP/1.1",
            ),
            never=("BadStatusLine",),
        ),
        Case(
            {ENDPOINT: grpc_at},
            (
                f"{grpc_at} speaks no TLS, but was spoken to with it: {ENDPOINT} has no scheme",
                f"Set {ENDPOINT}=http://{grpc_at}.",
            ),
        ),
        Case(
            {ENDPOINT: http_at},
            (f"Set {ENDPOINT}=http://{http_at} and {OTLP}PROTOCOL=http/protobuf.",),
        ),
        Case(
            {**HTTP, ENDPOINT: f"https://{http_at}"},
            (f"{ENDPOINT} says https", f"Set {ENDPOINT}=http://{http_at}."),
        ),
        Case(
            {**HTTP, ENDPOINT: http_at},
            (
                f"What is wrong {RULE} ! traces and metrics: {ENDPOINT} is '{http_at}', without http://",
            ),
            never=("Nothing could be sent",),
        ),
        Case(
            {ENDPOINT: f"http://user:pass-word@{grpc_at}"},
            (
                f"What is wrong {RULE} ! traces and metrics: {ENDPOINT} is 'http://***@{grpc_at}'",
                "with a user, which gRPC takes for the host",
            ),
            never=("takes no more for now", "user:", "pass-word"),
        ),
        Case(
            {
                ENDPOINT: grpc_at,
                **HTTP,
                f"{OTLP}METRICS_ENDPOINT": shared.grpc_endpoint,
                f"{OTLP}METRICS_PROTOCOL": "grpc",
            },
            (f"! traces: {ENDPOINT} is '{grpc_at}', without http://", "metrics accepted"),
        ),
    )


def test_nobody_there() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_at = f"127.0.0.1:{silent.getsockname()[1]}"
        check(
            Case(
                {ENDPOINT: f"http://127.0.0.1:{port}"},
                (f"Nobody listens on 127.0.0.1:{port}.", "Connection refused", "container"),
            ),
            Case(
                {**HTTP, ENDPOINT: f"http://user:pass-word@127.0.0.1:{port}"},
                (f"Nobody listens on 127.0.0.1:{port}.", f"http://***@127.0.0.1:{port}/v1/traces"),
                never=("user:", "pass-word"),
            ),
            Case(
                {ENDPOINT: "http://collector.invalid:4317"},
                (
                    "The name collector.invalid can't be looked up.",
                    f"Correct the host in {ENDPOINT}",
                ),
            ),
            Case(
                {**HTTP, ENDPOINT: "http://collector.invalid:4318"},
                ("The name collector.invalid can't be looked up.",),
            ),
            Case(
                {ENDPOINT: f"http://{silent_at}"},
                ("DEADLINE_EXCEEDED", f"{silent_at} takes the connection, and then says nothing."),
                timeout="0.5",
            ),
            Case(
                {**HTTP, ENDPOINT: f"https://{silent_at}"},
                (f"{silent_at} takes the connection, and then says nothing.",),
                timeout="0.5",
            ),
        )


def test_the_other_standard_port(shared: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, because the standard ports may be taken."""
    nobody = free_port()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{nobody}")
    http_port = int(shared.http_endpoint.rpartition(":")[2])
    ports = {"grpc": nobody, "http/protobuf": http_port}
    monkeypatch.setattr(connections, "_STANDARD_PORTS", ports)
    (exporter,) = exporters("traces")
    sender = otlp(exporter, "traces")
    assert sender is not None
    attempt = Attempt("traces", sender, Answer(accepted=False), {})
    finding = connections.connection_finding(attempt, 2.0)
    exporter.shutdown()
    assert finding is not None
    assert f"On port {http_port}, the one for http/protobuf, somebody does." in finding.what
    assert finding.next == (
        f"Set {OTLP}PROTOCOL=http/protobuf and {ENDPOINT}={shared.http_endpoint}."
    )


def test_tls_and_what_is_wrong_with_it(authority: Authority) -> None:
    trusted = {f"{OTLP}CERTIFICATE": authority.file}
    client = {
        f"{OTLP}CLIENT_CERTIFICATE": authority.client_certificate,
        f"{OTLP}CLIENT_KEY": authority.client_key,
    }
    with ExitStack() as stack:
        open_ = stack.enter_context
        good = open_(grpc_server(credentials=authority.grpc()))
        good_http = open_(http_server(tls=authority.http()))
        expired = open_(grpc_server(credentials=authority.grpc(not_before=-9, not_after=-1)))
        early = open_(http_server(tls=authority.http(not_before=1, not_after=9)))
        other_name = open_(grpc_server(credentials=authority.grpc("otel.example.com")))
        mutual = open_(grpc_server(credentials=authority.grpc(for_client=True)))
        trusted_grpc = {ENDPOINT: good, **trusted}
        trusted_http = {ENDPOINT: good_http, **HTTP, **trusted}
        plain = {ENDPOINT: good.replace("https", "http")}
        plain_http = {ENDPOINT: good_http.replace("https", "http"), **HTTP}
        issuer = "was issued by nobody who is trusted here. Set {} to a file with the authority"
        check(
            Case(each(trusted_grpc, trusted_http), ("trusts", "Everything was accepted."), 0),
            Case(
                each({ENDPOINT: good}, {ENDPOINT: good_http, **HTTP}),
                (
                    f"traces: The certificate of {host_and_port(good)} {issuer}".format(
                        f"{OTLP}CERTIFICATE"
                    ),
                    f"metrics: The certificate of {host_and_port(good_http)} was issued by nobody",
                ),
            ),
            Case(
                each({ENDPOINT: expired, **trusted}, {ENDPOINT: early, **HTTP, **trusted}),
                ("has expired", "clock run ahead", "is not valid yet", "clock lag behind"),
            ),
            Case(
                each({ENDPOINT: other_name, **trusted}, {ENDPOINT: mutual, **trusted}),
                (
                    "was not issued for 127.0.0.1",
                    f"Set {OTLP}TRACES_ENDPOINT to a name that it was issued for",
                    "It may want a client certificate",
                ),
            ),
            Case(
                each(plain, plain_http),
                (
                    "wants TLS, and was spoken to without",
                    f"Set {OTLP}TRACES_ENDPOINT={good}, and {OTLP}CERTIFICATE to a file",
                    f"Set {OTLP}METRICS_ENDPOINT={good_http}/v1/metrics, and",
                ),
            ),
            Case(
                each({**trusted_grpc, **HTTP}, {ENDPOINT: good_http, **trusted}),
                (
                    f"traces: {host_and_port(good)} speaks grpc, but was sent http/protobuf",
                    f"metrics: {host_and_port(good_http)} speaks http/protobuf, but was sent grpc",
                ),
            ),
            Case(
                each(
                    {ENDPOINT: mutual, **trusted, **client},
                    {**trusted_http, f"{OTLP}CERTIFICATE": "/no/such/file"},
                ),
                (
                    "traces accepted",
                    "client certificate, traces",
                    "'/no/such/file', which does not exist",
                    f"Correct {OTLP}METRICS_CERTIFICATE",
                ),
            ),
        )


def test_refusals_over_grpc() -> None:
    refusals = {
        grpc.StatusCode.UNAUTHENTICATED: (
            "answers UNAUTHENTICATED (why)",
            "the headers sent were api-key",
            f"Set {OTLP}TRACES_HEADERS",
        ),
        grpc.StatusCode.PERMISSION_DENIED: ("answers PERMISSION_DENIED",),
        grpc.StatusCode.UNIMPLEMENTED: (
            "it takes no traces over gRPC",
            "Add otlp to service.pipelines.traces.receivers",
            "OTEL_TRACES_EXPORTER=none",
        ),
        grpc.StatusCode.RESOURCE_EXHAUSTED: ("takes no more for now",),
        grpc.StatusCode.UNAVAILABLE: ("takes no more for now",),
        grpc.StatusCode.INVALID_ARGUMENT: ("answers INVALID_ARGUMENT (why)", "Look at the log"),
    }
    with ExitStack() as stack:
        servers = [
            {
                ENDPOINT: stack.enter_context(grpc_server(code, "why: secret-key")),
                f"{OTLP}HEADERS": "api-key=secret-key",
            }
            for code in refusals
        ]
        texts = [
            tuple(text.replace("(why)", "(why: ***)") for text in says)
            for says in refusals.values()
        ]
        check(
            *(
                Case(each(*servers[i : i + 2]), texts[i] + texts[i + 1], never=("secret-key",))
                for i in range(0, len(servers), 2)
            )
        )


def test_what_speaks_http_2_and_no_grpc() -> None:
    no_pipeline = "unknown service opentelemetry.proto.collector.metrics.v1.MetricsService"
    with (
        http_2_server(404) as not_found,
        http_2_server(500) as fails,
        grpc_server(grpc.StatusCode.UNIMPLEMENTED, no_pipeline) as collector,
    ):
        check(
            Case(
                each({ENDPOINT: not_found}, {ENDPOINT: collector}),
                (
                    "with status: 404): no OTLP/gRPC receiver answers there, but another server",
                    f"Correct host and port in {OTLP}TRACES_ENDPOINT",
                    f"({no_pipeline}): it takes no metrics over gRPC",
                    "Add otlp to service.pipelines.metrics.receivers",
                ),
                never=("service.pipelines.traces",),
            ),
            Case(
                {ENDPOINT: fails, **TRACES_ONLY},
                ("with status: 500): no OTLP/gRPC receiver answers there",),
            ),
        )


def test_refusals_over_http() -> None:
    refusals: Mapping[int, tuple[str, ...]] = {
        301: ("it redirects to https://elsewhere/", "so that everything is lost"),
        401: ("answers 401 (Unauthorized: no key)", "no header was sent"),
        403: ("answers 403", f"Set {OTLP}HEADERS as the backend wants it"),
        404: ("nothing is served at /v1/metrics", "service.pipelines.metrics.receivers"),
        415: ("it does not take OTLP as protobuf",),
        429: ("takes no more for now",),
        500: ("answers 500 (Internal Server Error: no key)", "Look at the log"),
        503: ("takes no more for now",),
    }
    headers = {"Location": "https://elsewhere/?token=secret", "Content-Type": "text/plain"}
    with ExitStack() as stack:
        servers = [
            {ENDPOINT: stack.enter_context(http_server(code, headers, b"no key")), **HTTP}
            for code in refusals
        ]
        texts = list(refusals.values())
        page = stack.enter_context(http_server(200, {"Content-Type": "text/html"}, b"<html>"))
        json = stack.enter_context(http_server(200, {"Content-Type": "application/json"}, b"{}"))
        check(
            *(
                Case(each(*servers[i : i + 2]), texts[i] + texts[i + 1], never=("secret",))
                for i in range(0, len(servers), 2)
            ),
            Case(
                each({ENDPOINT: page, **HTTP}, {ENDPOINT: json, **HTTP}),
                ("traces: ", "that is not an OTLP receiver's answer", "metrics accepted"),
            ),
        )


def test_paths(shared: OtlpReceiver) -> None:
    at = shared.http_endpoint
    check(
        Case(
            {f"{OTLP}TRACES_ENDPOINT": at, f"{OTLP}METRICS_ENDPOINT": f"{at}/v1/metrics", **HTTP},
            (
                f"{OTLP}TRACES_ENDPOINT is used as it is. Set it to {at}/v1/traces.",
                "metrics accepted",
            ),
        ),
        Case(
            {ENDPOINT: f"{at}/v1/traces", **HTTP},
            (f"/v1/metrics is added to {ENDPOINT}. Set it to {at}.",),
        ),
    )


def test_what_is_accepted_in_part() -> None:
    spans, points = ExportTraceServiceResponse(), ExportMetricsServiceResponse()
    spans.partial_success.rejected_spans = 1
    spans.partial_success.error_message = "too old"
    points.partial_success.error_message = "soon deprecated"
    protobuf = {"Content-Type": "application/x-protobuf"}
    with (
        grpc_server(response=spans) as over_grpc,
        http_server(200, protobuf, points.SerializeToString()) as over_http,
    ):
        check(
            Case(
                {ENDPOINT: over_grpc, **TRACES_ONLY},
                ("accepted in part", "accepted the test, but dropped 1 of it: too old."),
            ),
            Case(
                {ENDPOINT: over_http, **HTTP, "OTEL_TRACES_EXPORTER": "none"},
                ("Worth knowing", "soon deprecated"),
                exit_code=0,
            ),
        )


def test_the_clock() -> None:
    with (
        http_server(skew=timedelta(hours=-1)) as behind,
        grpc_server(metadata=(("date", format_datetime(NOW + timedelta(hours=2))),)) as ahead,
        grpc_server() as without,
        http_server() as near,
    ):
        late = "This machine's clock is 3,6\\d\\d s ahead of the receiver's."
        done = doctor({ENDPOINT: behind, **HTTP})
        assert re.search(late, said(done.stdout)), done.stdout
        assert "Set the clock" in done.stdout
        check(
            Case({ENDPOINT: ahead}, ("s behind the receiver's", "Set the clock"), 0),
            Case({ENDPOINT: without}, ("this machine's clock: not compared",), 0),
            Case(
                {ENDPOINT: near, **HTTP},
                ("this machine's clock: agrees with the receiver's",),
                0,
                never=("Set the clock",),
            ),
        )


def test_proxies(shared: OtlpReceiver) -> None:
    grpc_at, http_at = shared.grpc_endpoint, shared.http_endpoint
    with http_server(403) as forbids, http_server(407) as asks, http_server(502) as fails:
        secret = forbids.replace("http://", "http://user:pass-word@")
        dead = f"http://127.0.0.1:{free_port()}"
        check(
            Case(
                {ENDPOINT: grpc_at, "https_proxy": secret},
                (
                    f"It goes through the proxy http://***@{host_and_port(forbids)}, as https_proxy says",
                    "returned response code 403",
                    f"Without the proxy, {host_and_port(grpc_at)} can be reached.",
                    "Set no_proxy=127.0.0.1 (gRPC reads it in small letters only)",
                ),
                never=("pass-word",),
            ),
            Case(
                {ENDPOINT: http_at, **HTTP, "HTTP_PROXY": asks, "no_proxy": "example.com"},
                ("as HTTP_PROXY says, and fails: 407", "Set no_proxy=127.0.0.1"),
            ),
            Case(
                {ENDPOINT: http_at.replace("http", "https"), **HTTP, "https_proxy": fails},
                ("as https_proxy says, and fails", "502"),
            ),
            Case({ENDPOINT: http_at, **HTTP, "http_proxy": dead}, (f"the proxy {dead}",)),
            Case({ENDPOINT: grpc_at, "http_proxy": dead, "no_proxy": ".0.0.1"}, (), 0),
            Case({ENDPOINT: grpc_at, "HTTP_PROXY": dead, "ALL_PROXY": dead}, (), 0),
            Case({ENDPOINT: http_at, **HTTP, "http_proxy": dead, "NO_PROXY": "*"}, (), 0),
        )


def test_what_is_switched_off_or_goes_elsewhere(shared: OtlpReceiver, tmp_path: Path) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text("file_format: '1.0'")
    check(
        Case(
            {"OTEL_SDK_DISABLED": "true"},
            (
                "exporter none, nothing is exported OTEL_SDK_DISABLED",
                "nothing is sent at all",
                "Nothing is sent over",
            ),
            0,
            never=("otlp  ",),
        ),
        Case(
            {ENDPOINT: shared.grpc_endpoint, "OTEL_TRACES_EXPORTER": "console"},
            ("A metric is sent, and 5 s", "Look for the metric llm_cache_otel.doctor.tests of"),
            0,
            never=("A span", "the span"),
        ),
        Case(
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"},
            ("exporter, traces console OTEL_TRACES_EXPORTER", "Nothing is sent over OTLP"),
            0,
        ),
        Case({"OTEL_CONFIG_FILE": str(file)}, ("exporter what the file says OTEL_CONFIG_FILE",)),
        Case(
            {ENDPOINT: shared.grpc_endpoint, "OTEL_TRACES_SAMPLER": "always_off"},
            ("traces that begin in this program are not sent",),
            0,
        ),
        Case(
            {ENDPOINT: shared.grpc_endpoint, "OTEL_SERVICE_NAME": ""},
            ("service.name is unknown_service", "Set OTEL_SERVICE_NAME="),
            0,
        ),
    )


def test_what_is_wrong_with_variables(shared: OtlpReceiver) -> None:
    check(
        Case(
            {
                ENDPOINT: shared.grpc_endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "soon",
                "OTEL_EXPORTER_OTLP_HAEDERS": "a=secret",
                "LLM_CACHE_OTEL_EXIT_TIMEOUT": "later",
                "LLM_CACHE_OTEL_INFERENCE_SPANS": "never",
                "LLM_CACHE_OTEL_DIGEST_SALT": "secret",
                "LLM_CACHE_OTEL_PRICE_TABLE": "latest",
                "LLM_CACHE_OTEL_PRICES": '{"b": {"input": 1, "output": 2}, "a": {"input": 1, "output": 2}}',
                "LLM_CACHE_OTEL_MODEL_ALIASES": '{"b": "openai/gpt-4", "c": "a", "d": "gpt-44o"}',
                "LLM_CACHE_OTEL_PROMPT_MINIMUMS": '{"a": -1}',
                "LLM_CACHE_OTEL_PROMPT_RETENTIONS": '{"a": 60, "b": 3600.5}',
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis, llm_cache",
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=ours",
                "OTEL_SERVICE_NAME": "",
            },
            (
                "OTEL_BSP_SCHEDULE_DELAY is 'soon'",
                "Do you mean OTEL_EXPORTER_OTLP_HEADERS?",
                "LLM_CACHE_OTEL_EXIT_TIMEOUT must be",
                "exit timeout 2 s default",
                "inference spans never LLM_CACHE_OTEL_INFERENCE_SPANS",
                "digest salt given LLM_CACHE_OTEL_DIGEST_SALT",
                "function hit spans false default",
                "LLM_CACHE_OTEL_PRICE_TABLE must be 'bundled', 'updated' or 'off'",
                "price table bundled default",
                "own prices a and b LLM_CACHE_OTEL_PRICES",
                "LLM_CACHE_OTEL_PROMPT_MINIMUMS must have a number of tokens for 'a', not -1",
                "prompt minimums the table's default",
                "prompt retentions a is 60 and b is 3600.5 LLM_CACHE_OTEL_PROMPT_RETENTIONS",
                "LLM_CACHE_OTEL_MODEL_ALIASES has gpt-44o for d, of which no price is known.",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS has llm_cache",
                "service.name ours OTEL_RESOURCE_ATTRIBUTES",
                "Everything was accepted.",
            ),
            exit_code=0,
            never=("secret",),
        ),
        Case(
            {ENDPOINT: shared.grpc_endpoint, "OTEL_TRACES_EXPORTER": "otlp,pigeon"},
            ("names 'pigeon', which is not installed", "traces accepted", "Not all arrives."),
        ),
        Case(
            {ENDPOINT: shared.http_endpoint, **HTTP, f"{OTLP}HEADERS": "x=secret%0Avalue"},
            (f"{OTLP}HEADERS can't be sent as it is", "Nothing could be sent"),
            never=("secret", "value'"),
        ),
        Case(
            {ENDPOINT: "http://[::1:4317"},
            ("which is not a URL", "The exporter of metrics can't be built (ValueError)"),
        ),
    )


@pytest.mark.parametrize("columns", [80, 100])
def test_what_is_wrong_comes_last_and_fits(columns: int, shared: OtlpReceiver) -> None:
    environment = {ENDPOINT: shared.http_endpoint, "PYTHONIOENCODING": "ascii"}
    done = doctor(environment, columns=columns)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert max(map(len, lines)) <= columns
    last = "\n".join(lines[-6:])
    assert "What is wrong" in last
    assert "speaks http/protobuf, but was sent grpc" in said(last)
    assert "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in said(last)


def test_what_can_be_copied_is_never_folded() -> None:
    """Lines longer than a terminal is wide are left to the terminal."""
    path = "/a-path-that/is-longer/than/a-terminal/is-wide/and-has-to/be-copied"
    traces = f"http://127.0.0.1:{free_port()}{path}"
    environment = {f"{OTLP}TRACES_ENDPOINT": traces, f"{OTLP}TRACES_PROTOCOL": "http/protobuf"}
    environment |= {"OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": ""}
    lines = [line.split() for line in doctor(environment, columns=80).stdout.splitlines()]
    assert ["endpoint,", "traces", traces] in lines
    assert [f"{OTLP}TRACES_ENDPOINT"] in lines
    assert any(line[0] == "service.name" and line[-1] == "default" for line in lines if line)


@pytest.mark.parametrize("timeout", ["0", "soon"])
def test_an_impossible_timeout_is_refused(timeout: str) -> None:
    done = doctor({}, f"--timeout={timeout}")
    assert done.returncode == 2
    assert "--timeout" in done.stderr


def test_a_failure_of_the_doctor_itself_is_one_line() -> None:
    program = (
        "import sys; sys.argv = ['llm-cache-otel', 'doctor']\n"
        "from llm_cache_otel.cli.doctor import examine\n"
        "def fail(*_): raise RuntimeError('http://user:pass-word@host is odd')\n"
        "examine.problems = fail\n"
        "from llm_cache_otel.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env={}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") == 1
    assert "The doctor itself failed: RuntimeError in" in done.stdout
    assert "pass-word" not in done.stdout

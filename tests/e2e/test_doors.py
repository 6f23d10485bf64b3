"""A Collector that is reached from elsewhere: over TLS, by who has a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.programs import PROTOCOLS

from e2e.certificates import Certificates, issued
from e2e.conftest import Programs
from e2e.stack import Collector
from e2e.waiting import eventually
from llm_cache_otel.cli.receiver import OtlpReceiver

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issued(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def guarded(
    tmp_path: Path, certificates: Certificates, receiver: OtlpReceiver
) -> Iterator[Collector]:
    tokens = tmp_path / "tokens"
    tokens.write_text("old-token  # until all programs have the new one\nnew-token\n")
    with Collector(
        tmp_path / "collector",
        *("otel-collector.yaml", "tls.yaml", "bearer-token.yaml"),
        authority=certificates.authority,
        JAEGER_ENDPOINT=receiver.grpc_endpoint.removeprefix("http://"),
        BEARER_TOKEN_FILE=tokens,
        **certificates.variables,
    ) as collector:
        yield collector


PROGRAM = "from e2e.workers import ask_sync; ask_sync([1, 1])"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_has_a_token_gets_in(
    protocol: str,
    guarded: Collector,
    programs: Programs,
    certificates: Certificates,
    receiver: OtlpReceiver,
) -> None:
    endpoint = guarded.grpc_endpoint if protocol == "grpc" else guarded.http_endpoint
    trusting = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": certificates.authority,
    }
    headers = {
        "none": {},
        "wrong": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20guess"},
        "old": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20old-token"},
        "new": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20new-token"},
    }
    for service, header in headers.items():
        programs.run(PROGRAM, endpoint, service, **trusting, **header)

    def arrived() -> None:
        spans = {span.resource["service.name"] for span in receiver.spans}
        page = guarded.page()
        assert spans == {"old", "new"}
        assert {name for name in headers if f'job="{name}"' in page} == {"old", "new"}

    eventually(arrived)


def test_nothing_is_said_without_tls(guarded: Collector) -> None:
    for door in ("OTLP_HTTP_ENDPOINT", "PROMETHEUS_SUMMED_ENDPOINT", "PROMETHEUS_LATEST_ENDPOINT"):
        answer = httpx.get(f"http://127.0.0.1:{guarded.ports[door]}/metrics", trust_env=False)
        assert answer.status_code == 400

"""collector-config/jaeger.yaml, which compose.yaml runs: what Jaeger was sent is there after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.conftest import Programs
from e2e.stack import CONFIG, Server, finding, free_port
from e2e.stack.server import answers
from e2e.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def endpoints() -> dict[str, str]:
    names = ("QUERY_ENDPOINT", "QUERY_GRPC_ENDPOINT", "HEALTH_ENDPOINT", "OTLP_GRPC_ENDPOINT")
    return {name: f"127.0.0.1:{free_port()}" for name in names}


@pytest.fixture
def jaeger(tmp_path: Path, endpoints: dict[str, str]) -> Iterator[Server]:
    """Well by what compose.yaml asks it."""
    with Server(
        "jaeger",
        [finding.jaeger(), f"--config={CONFIG / 'jaeger.yaml'}"],
        tmp_path,
        answers(f"http://{endpoints['HEALTH_ENDPOINT']}/status"),
        {**endpoints, "STORAGE_DIRECTORY": str(tmp_path / "storage")},
    ) as jaeger:
        yield jaeger


def test_traces_are_there_after_a_restart(
    jaeger: Server, endpoints: dict[str, str], programs: Programs
) -> None:
    program = "from e2e.workers import ask_sync; ask_sync([1, 1])"
    endpoint = f"http://{endpoints['OTLP_GRPC_ENDPOINT']}"
    programs.run(program, endpoint, "on-disk", OTEL_METRICS_EXPORTER="none")

    def is_found() -> None:
        query = {"service": "on-disk", "tags": '{"llm_cache.outcome":"hit"}', "lookback": "1h"}
        url = f"http://{endpoints['QUERY_ENDPOINT']}/api/traces"
        (trace,) = httpx.get(url, params=query, trust_env=False).raise_for_status().json()["data"]
        assert {span["operationName"] for span in trace["spans"]} == {"create User"}

    eventually(is_found)
    jaeger.stop()
    jaeger.start()
    eventually(is_found)

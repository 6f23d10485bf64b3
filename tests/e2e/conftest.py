from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import environment, unmeasured
from support.stage import Stage as Theatre

from e2e.stack import Stack
from llm_cache_otel.cli.simulate import SimulatedProvider

SENT_QUICKLY = {
    "OTEL_METRIC_EXPORT_INTERVAL": 500,
    "OTEL_BSP_SCHEDULE_DELAY": 200,
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
}


@pytest.fixture
def own_provider() -> Iterator[SimulatedProvider]:
    """With a ledger of this test's requests only."""
    with SimulatedProvider() as provider:
        yield provider


class Programs:
    """Runs programs that ask `provider` and send to an endpoint, and keeps what they said."""

    def __init__(self, theatre: Theatre, provider: SimulatedProvider, directory: Path) -> None:
        self.tally = directory / "tally"
        self._theatre = theatre
        self._provider = provider
        self._directory = directory
        self._count = 0

    def variables(self, endpoint: str, service: str, **more: object) -> dict[str, str]:
        own: dict[str, object] = {
            **SENT_QUICKLY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": service,
            "TALLY": self.tally,
            **more,
        }
        given = unmeasured(environment(self._provider, **own))
        # Which `requests` would take before OTEL_EXPORTER_OTLP_CERTIFICATE.
        return {name: given[name] for name in given if not name.endswith("_CA_BUNDLE")}

    def run(self, program: str, endpoint: str, service: str, **more: object) -> tuple[str, str]:
        """What it wrote to stdout and stderr, which are files while it runs, once it has ended well."""
        self._count += 1
        directory = self._directory / f"program-{self._count}"
        directory.mkdir()
        return self._theatre.run(
            program, self.variables(endpoint, service, **more), directory, timeout=600
        )


@pytest.fixture
def programs(stage: Theatre, own_provider: SimulatedProvider, tmp_path: Path) -> Programs:
    return Programs(stage, own_provider, tmp_path)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack

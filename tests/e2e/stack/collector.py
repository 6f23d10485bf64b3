"""The Collector, with the very files of `collector-config/`; ports and paths are variables of theirs."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

from e2e.stack import finding
from e2e.stack.server import Server, answers, free_port

CONFIG = Path(__file__).parents[3] / "collector-config"

PORTS = {
    "OTLP_GRPC_ENDPOINT": 4317,
    "OTLP_HTTP_ENDPOINT": 4318,
    "PROMETHEUS_SUMMED_ENDPOINT": 8889,
    "PROMETHEUS_LATEST_ENDPOINT": 8890,
    "HEALTH_ENDPOINT": 13133,
}
"""What is free to choose, with the ports in the files."""

_TELEMETRY = 8888


class Collector(Server):
    """`Collector(directory, "otel-collector.yaml", JAEGER_ENDPOINT=...)`: files, and their variables.

    `ports` are some of `PORTS` and `TELEMETRY_PORT`; what is not said there is any free one. With
    `authority`, the certificate of one, its pages are read over TLS.
    """

    def __init__(
        self,
        directory: Path,
        *files: str,
        ports: Mapping[str, int] | None = None,
        authority: Path | None = None,
        **variables: object,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ports = {name: free_port() for name in (*PORTS, "TELEMETRY_PORT")} | dict(ports or {})
        self._authority = authority
        endpoints = {name: f"127.0.0.1:{self.ports[name]}" for name in PORTS}
        super().__init__(
            "collector",
            [finding.collector(), *(f"--config={CONFIG / file}" for file in files)],
            directory,
            answers(f"http://{endpoints['HEALTH_ENDPOINT']}/"),
            {
                "PATH": os.environ.get("PATH", ""),
                **endpoints,
                "TELEMETRY_PORT": str(self.ports["TELEMETRY_PORT"]),
                "STORAGE_DIRECTORY": str(directory / "storage"),
                **{name: str(value) for name, value in variables.items()},
            },
        )

    @property
    def grpc_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.ports['OTLP_GRPC_ENDPOINT']}"

    @property
    def http_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.ports['OTLP_HTTP_ENDPOINT']}"

    @property
    def _scheme(self) -> str:
        return "https" if self._authority else "http"

    @property
    def moved(self) -> dict[str, str]:
        """Where the files of Prometheus have this Collector, and where it is."""
        ports = {**PORTS, "TELEMETRY_PORT": _TELEMETRY}
        names = ("PROMETHEUS_SUMMED_ENDPOINT", "PROMETHEUS_LATEST_ENDPOINT", "TELEMETRY_PORT")
        return {f"127.0.0.1:{ports[name]}": f"127.0.0.1:{self.ports[name]}" for name in names}

    def page(self, name: str = "PROMETHEUS_SUMMED_ENDPOINT") -> str:
        """What Prometheus reads there."""
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        of_its_own = name == "TELEMETRY_PORT"  # which knows no TLS
        url = f"{'http' if of_its_own else self._scheme}://127.0.0.1:{self.ports[name]}/metrics"
        trusted = ssl.create_default_context(cafile=self._authority)
        answer = httpx.get(url, headers=accept, trust_env=False, verify=trusted)
        return answer.raise_for_status().text

    def own(self, metric: str) -> float:
        """A counter or gauge of the Collector's own, summed; 0 where there is none."""
        lines = self.page("TELEMETRY_PORT").splitlines()
        named = [line for line in lines if line.startswith((f"{metric}{{", f"{metric} "))]
        return sum(float(line.rsplit("}", 1)[-1].split("#")[0].split()[0]) for line in named)

"""Jaeger, Prometheus, Alertmanager and Redis, as servers of this machine, and what is asked of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from e2e.stack import finding
from e2e.stack.collector import CONFIG
from e2e.stack.server import Server, answers, free_port

_HERE = Path(__file__).parent
_CONTEXT = {"PATH": os.environ.get("PATH", "")}


class Jaeger(Server):
    def __init__(self, directory: Path, port: int = 0, otlp_port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port or free_port()}"
        self.otlp = f"127.0.0.1:{otlp_port or free_port()}"
        super().__init__(
            "jaeger",
            [finding.jaeger(), f"--config={_HERE / 'jaeger.yaml'}"],
            directory,
            answers(f"{self.url}/api/services"),
            {
                **_CONTEXT,
                "QUERY_ENDPOINT": self.url.removeprefix("http://"),
                "QUERY_GRPC_ENDPOINT": f"127.0.0.1:{free_port()}",
                "HEALTH_ENDPOINT": f"127.0.0.1:{free_port()}",
                "OTLP_GRPC_ENDPOINT": self.otlp,
            },
        )

    def stop(self) -> None:
        """At once: it has nothing to save, and takes ten seconds to find that out."""
        self.kill()

    def traces(self, service: str, tags: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """As its search finds them, by tags of one span of each; the last hour's."""
        query = {"service": service, "limit": "10000", "lookback": "1h"}
        if tags:
            query["tags"] = json.dumps(tags)
        answer = httpx.get(f"{self.url}/api/traces", params=query, trust_env=False, timeout=30)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
        return found

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        answer = httpx.get(f"{self.url}/api/traces/{trace_id}", trust_env=False)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        (found,) = answer.raise_for_status().json()["data"]
        return dict(found)


class Prometheus(Server):
    """With a copy of the folder's files in which only what `moved` names has changed, and `paces`.

    Prometheus reads no variables, so that a port can only be another by a text in place of another; each
    must be there. `paces` are such texts too, of durations, to be quicker than in production.
    """

    def __init__(
        self,
        directory: Path,
        moved: Mapping[str, str],
        *,
        folder: Path = CONFIG / "prometheus",
        paces: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.url = f"http://127.0.0.1:{port or free_port()}"
        files = directory / "prometheus"
        copied(folder, files, {**moved, **(paces or {})})
        super().__init__(
            "prometheus",
            [
                finding.prometheus(),
                f"--config.file={files / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                f"--web.external-url={self.url}",  # or alerts name it by this machine's name
                "--enable-feature=exemplar-storage",
                "--rules.alert.resend-delay=2s",
            ],
            directory,
            answers(f"{self.url}/-/ready"),
            _CONTEXT,
        )

    def has(self, page: str) -> bool:
        return httpx.get(f"{self.url}{page}", trust_env=False, timeout=30).is_success

    def ask(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=query, trust_env=False, timeout=30)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    def vector(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Values by their labels."""
        result = self.ask("query", query=query)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in result}

    def total(self, query: str) -> float:
        return sum(self.vector(query).values())

    def by(self, label: str, query: str) -> dict[str, float]:
        summed: defaultdict[str, float] = defaultdict(float)
        for labels, value in self.vector(query).items():
            summed[dict(labels).get(label, "")] += value
        return dict(summed)


def copied(folder: Path, to: Path, instead: Mapping[str, str]) -> None:
    """A copy of a folder of text files with other texts instead."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    left = set(instead)
    for file in to.rglob("*.yaml"):
        text = file.read_text()
        left -= {old for old in left if old in text}
        for old, new in instead.items():
            text = text.replace(old, new)
        file.write_text(text)
    assert not left, f"{folder} nowhere has {left}"


def alertmanager(directory: Path, port: int = 0, moved: Mapping[str, str] | None = None) -> Server:
    """With `alertmanager.yaml`, where `moved` names what is elsewhere; at `127.0.0.1:port`."""
    directory.mkdir(parents=True, exist_ok=True)
    text = (CONFIG / "alertmanager.yaml").read_text()
    for old, new in (moved or {}).items():
        assert old in text, f"alertmanager.yaml nowhere has {old}"
        text = text.replace(old, new)
    file = directory / "alertmanager.yaml"
    file.write_text(text)
    address = f"127.0.0.1:{port or free_port()}"
    return Server(
        "alertmanager",
        [
            finding.alertmanager(),
            f"--config.file={file}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}",
            "--cluster.listen-address=",
        ],
        directory,
        answers(f"http://{address}/-/ready"),
        _CONTEXT,
        address,
    )


def redis(directory: Path, port: int = 0) -> Server:
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()

    def is_ready() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"

    command = [finding.redis(), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    address = f"127.0.0.1:{port}"
    return Server("redis", [*command, "--appendonly", "no"], directory, is_ready, _CONTEXT, address)

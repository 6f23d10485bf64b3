"""`python -m e2e.stack get | up | down`: the programs; a stack that goes on running; its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from urllib.parse import quote

from e2e.stack import finding
from e2e.stack.backends import Jaeger, Prometheus, alertmanager
from e2e.stack.collector import CONFIG, PORTS, Collector
from e2e.stack.finding import Missing
from e2e.stack.server import Server, free_port
from llm_cache_otel.cli.destination import SERVICE_NAME

UP = finding.CACHE / "up"
RUNNING = UP / "running.json"
ALERTMANAGER = "127.0.0.1:9093"


def get() -> int:
    """Find, install or build each program; say what there is, and of what there is not how to get it."""
    missing = 0
    for name, find in finding.EVERY.items():
        try:
            print(f"{name:28} {find()}", flush=True)
        except Missing as why:
            missing += 1
            print(f"{name:28} MISSING. {why}", flush=True)
    return 1 if missing else 0


def up() -> int:
    """On the usual ports, where they are free, with what the demo sends."""
    if _running():
        print(f"It runs already ({RUNNING}). `make down` ends it.")
        return 1
    shutil.rmtree(UP, ignore_errors=True)
    UP.mkdir(parents=True)
    servers: list[Server] = []
    try:
        _start_all(servers)
    except BaseException:
        for server in reversed(servers):
            server.stop()
        raise
    return 0


def _start_all(servers: list[Server]) -> None:
    def start(server: Server) -> None:
        servers.append(server)
        server.start()
        _remember(servers)

    jaeger = Jaeger(UP / "jaeger", _port(16686), _port(14317))
    start(jaeger)
    ports = {name: _port(usual) for name, usual in {**PORTS, "TELEMETRY_PORT": 8888}.items()}
    collector = Collector(
        UP / "collector", "otel-collector.yaml", ports=ports, JAEGER_ENDPOINT=jaeger.otlp
    )
    start(collector)
    alerts = None
    moved: Mapping[str, str] = collector.moved
    if (CONFIG / "alertmanager.yaml").exists():
        alerts = alertmanager(UP / "alertmanager", _port(9093))
        start(alerts)
        moved = {**moved, ALERTMANAGER: alerts.address}
    prometheus = Prometheus(UP / "prometheus", moved, port=_port(9090))
    start(prometheus)
    print("Sending the demo's calls …", flush=True)
    _send_demo(collector.grpc_endpoint)
    _say(jaeger, collector, prometheus, alerts)


def _send_demo(endpoint: str) -> None:
    variables = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "NO_PROXY": "*",
    }
    command = [sys.executable, "-m", "llm_cache_otel", "demo"]
    subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)


def _say(
    jaeger: Jaeger, collector: Collector, prometheus: Prometheus, alerts: Server | None
) -> None:
    tags = quote('{"llm_cache.outcome":"miss"}')
    search = f"{jaeger.url}/search?service={SERVICE_NAME}&tags={tags}"
    api = f"{jaeger.url}/api/traces?service={SERVICE_NAME}&limit=3"
    requests = "llm_cache_requests_total{llm_cache_outcome"
    ratio = quote(f'sum({requests}="hit"}}) / sum({requests}=~"hit|miss"}})')
    print(f"""
Send your own programs there:
    export OTEL_EXPORTER_OTLP_ENDPOINT={collector.grpc_endpoint}
    export OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta
    export OTEL_METRIC_EXPORT_INTERVAL=10000

Open
    misses, in Jaeger         {search}
      (a Jaeger built with Go has no pages: {api})
    the hit rate              {prometheus.url}/graph?g0.expr={ratio}&g0.tab=1
    alerts                    {prometheus.url}/alerts{f", {alerts.address}" if alerts else ""}
    what Prometheus reads     http://127.0.0.1:{collector.ports["PROMETHEUS_SUMMED_ENDPOINT"]}/metrics
    the Collector of itself   http://127.0.0.1:{collector.ports["TELEMETRY_PORT"]}/metrics

Logs and data are in {UP}. `make down` ends it.""")


def down() -> int:
    """End what `up` started, by the ids noted then, and no other."""
    for name, pid, _ in reversed(_running()):
        print(f"{name} ({pid})")
        os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + 15
        while _is_alive(pid) and time.monotonic() < ends:
            time.sleep(0.1)
    RUNNING.unlink(missing_ok=True)
    return 0


def _remember(servers: list[Server]) -> None:
    RUNNING.write_text(json.dumps([[one.name, one.pid, one.command[0]] for one in servers]))


def _running() -> list[tuple[str, int, str]]:
    """What `up` started and still runs; an id may be another program's by now."""
    if not RUNNING.exists():
        return []
    noted = json.loads(RUNNING.read_text())
    return [(name, pid, program) for name, pid, program in noted if _runs(pid, program)]


def _runs(pid: int, program: str) -> bool:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(
            ["ps", "-o", "args=", "-p", str(pid)], check=True, capture_output=True, text=True
        )
        return said.stdout.startswith(program)
    return False


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _port(usual: int) -> int:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", usual)):
        return usual
    return free_port()


def main() -> int:
    commands = {"get": get, "up": up, "down": down}
    try:
        return commands[sys.argv[1]]()
    except Missing as why:
        print(why, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

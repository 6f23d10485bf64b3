"""`python -m e2e.stack get | up | down`: the programs; a stack that goes on running; its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import quote

from e2e.stack import finding, running, signals
from e2e.stack.backends import Jaeger, Prometheus, alertmanager
from e2e.stack.collector import CONFIG, PORTS, Collector
from e2e.stack.finding import Missing
from e2e.stack.processes import Unknown
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
    if any(map(running.may_run, running.noted(RUNNING))):
        print(f"It runs already ({RUNNING}). `make down` ends it.")
        return 1
    shutil.rmtree(UP, ignore_errors=True)
    UP.mkdir(parents=True)
    servers: list[Server] = []
    with signals.leaving():
        try:
            _start_all(servers)
        except BaseException:
            for server in reversed(servers):
                server.stop()
            RUNNING.unlink(missing_ok=True)
            raise
    return 0


def _start_all(servers: list[Server]) -> None:
    def start(server: Server) -> None:
        # Whatever ends this while it waits, `down` is to find what was started.
        with signals.held():
            servers.append(server)
            server.launch()
            _note(servers)
        server.wait()

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
    command = [sys.executable, "-m", "llm_cache_otel", "demo"]
    variables = _demo_variables(os.environ, endpoint)
    ended = subprocess.run(command, env=variables, check=False, stdout=subprocess.DEVNULL)
    if ended.returncode:
        raise RuntimeError(f"The demo ended with {ended.returncode}.")


def _demo_variables(given: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """Its calls go here alone, and whole, whatever else the user's shell says of telemetry."""
    theirs = ("OTEL_", "LLM_CACHE_OTEL_")
    return {
        **{name: value for name, value in given.items() if not name.startswith(theirs)},
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "NO_PROXY": "*",
    }


def _say(
    jaeger: Jaeger, collector: Collector, prometheus: Prometheus, alerts: Server | None
) -> None:
    tags = quote('{"llm_cache.outcome":"miss"}')
    search = f"{jaeger.url}/search?service={SERVICE_NAME}&tags={tags}"
    api = f"{jaeger.url}/api/traces?service={SERVICE_NAME}&tags={tags}&limit=3"
    requests = "llm_cache_requests_total{llm_cache_outcome"
    ratio = quote(f'sum({requests}="hit"}}) / sum({requests}=~"hit|miss"}})')
    # Debian's Prometheus has the pages of before.
    pages = "/classic/alerts" if prometheus.has("/classic/alerts") else "/alerts"
    told = f"http://{alerts.address}/api/v2/alerts (Debian's has no pages)" if alerts else "nowhere"
    print(f"""
Send your own programs there:
    export OTEL_EXPORTER_OTLP_ENDPOINT={collector.grpc_endpoint}
    export OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta
    export OTEL_METRIC_EXPORT_INTERVAL=10000

Open
    misses, in Jaeger         {api}
      (a Jaeger with pages:   {search})
    the hit rate              {prometheus.url}/graph?g0.expr={ratio}&g0.tab=1
      (of all of the demo, also of what it shows to miss)
    alerts                    {prometheus.url}{pages}
    what Alertmanager has     {told}
      (to have them sent, give alertmanager.yaml addresses and a webhook-token)
    what Prometheus reads     http://127.0.0.1:{collector.ports["PROMETHEUS_SUMMED_ENDPOINT"]}/metrics
    the Collector of itself   http://127.0.0.1:{collector.ports["TELEMETRY_PORT"]}/metrics

Logs and data are in {UP}. `make down` ends it.""")


def down() -> int:
    """End what `up` started, as it was noted then, and no other."""
    left = 0
    for one in reversed(running.noted(RUNNING)):
        try:
            if one.runs():
                print(one, flush=True)
                one.end()
        except (Unknown, OSError) as why:
            left += 1
            print(f"{one} may still run: {why}", file=sys.stderr)
    if left:
        print(f"Noted in {RUNNING}; `make down` tries again.", file=sys.stderr)
        return 1
    RUNNING.unlink(missing_ok=True)
    return 0


def _note(servers: list[Server]) -> None:
    found = (running.program(one.name, one.pid) for one in servers)
    running.note(RUNNING, [one for one in found if one is not None])


def _port(usual: int) -> int:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", usual)):
        return usual
    return free_port()


def main() -> int:
    commands = {"get": get, "up": up, "down": down}
    try:
        return commands[sys.argv[1]]()
    except (Missing, OSError, RuntimeError) as why:
        print(why, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())

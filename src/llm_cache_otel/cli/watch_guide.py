"""What `llm-cache-otel watch` says where there is nothing to show."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from llm_cache_otel.cli.arrivals import Arrivals
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.watched import Watched
from llm_cache_otel.cli.wording import counted

GRPC_ENDPOINT = "http://127.0.0.1:4317"
HTTP_ENDPOINT = "http://127.0.0.1:4318"
"""Of this machine, what exporters send to by default."""

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OVER_HTTP = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"


def waiting(arrivals: Arrivals, timeout: int | None = None) -> RenderableType:
    """What to do in another terminal for something to arrive, and what ends the wait for it."""
    receiver = arrivals.receiver
    came = arrivals.watched.doctor_came
    end = "Ctrl-C ends this."
    if timeout is not None:
        seconds = counted(timeout, "second", "seconds")
        end = f"Ends when it has arrived, or if nothing has after {seconds}."
    return Group(
        Text(f"Waiting for telemetry on {_ports(receiver)}.", style="bold"),
        *(["The doctor's test has arrived: the way here is open."] if came else []),
        *_others(arrivals.watched),
        "",
        "In another terminal, run a program that calls llm_cache_otel.instrument(client),",
        "or any program of Instructor's with opentelemetry-instrument.",
        *_over_grpc(receiver.grpc_endpoint),
        *_over_http(receiver.http_endpoint),
        "Spans come every 5 seconds, metrics every 60 and at exit. To have them every 5:",
        _code("export OTEL_METRIC_EXPORT_INTERVAL=5000"),
        Text(end, style="dim"),
    )


def _over_grpc(endpoint: str) -> list[RenderableType]:
    if endpoint == GRPC_ENDPOINT:
        return [f"Over gRPC it sends here, unless {_ENDPOINT} is set.", "Over HTTP:"]
    return ["Over gRPC:", _code(f"export {_ENDPOINT}={endpoint}"), "Over HTTP:"]


def _over_http(endpoint: str) -> list[RenderableType]:
    where = [] if endpoint == HTTP_ENDPOINT else [f"export {_ENDPOINT}={endpoint}"]
    return [_code(f"export {_OVER_HTTP}", *where)]


def nothing_arrived(arrivals: Arrivals) -> RenderableType:
    """What may be the reason."""
    receiver = arrivals.receiver
    but = " but the doctor's test: the way here is open" if arrivals.watched.doctor_came else ""
    return Group(
        Text(f"Nothing of llm-cache-otel has arrived{but}.", style="bold"),
        *_others(arrivals.watched),
        "",
        "Does the program",
        "- call instrument(client), or run with opentelemetry-instrument?",
        "- set up OpenTelemetry providers of its own? They go before OTEL_*.",
        f"- send here? {_ENDPOINT} has to be {receiver.grpc_endpoint},",
        f"  or {receiver.http_endpoint} with {_OVER_HTTP}.",
        "- send at all? OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER=none and",
        "  OTEL_METRICS_EXPORTER=none keep it from that.",
    )


def _ports(receiver: OtlpReceiver) -> str:
    grpc, http = (
        endpoint.rsplit(":", 1)[1] for endpoint in (receiver.grpc_endpoint, receiver.http_endpoint)
    )
    return f"127.0.0.1, port {grpc} (gRPC) and port {http} (HTTP)"


def _others(watched: Watched) -> list[RenderableType]:
    spans, series = watched.other_spans, watched.other_series
    if not spans and not series:
        return []
    come = f"{counted(spans, 'span', 'spans')} and {counted(series, 'time series', 'time series')}"
    return [Text(f"{come} have come, and none of llm-cache-otel.", style="yellow")]


def _code(*lines: str) -> RenderableType:
    return Padding("\n".join(lines), (1, 0, 1, 4), expand=False)

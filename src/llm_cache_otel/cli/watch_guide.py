"""What `llm-cache-otel watch` says where there is nothing to show."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.wording import counted

GRPC_ENDPOINT = "http://127.0.0.1:4317"
HTTP_ENDPOINT = "http://127.0.0.1:4318"
"""Of this machine, what exporters send to by default."""

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OVER_HTTP = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"


def waiting(receiver: OtlpReceiver) -> RenderableType:
    """What to do in another terminal for something to arrive."""
    return Group(
        Text(f"Waiting for telemetry on {_ports(receiver)}.", style="bold"),
        *_others(receiver),
        "",
        "In another terminal, run a program that calls llm_cache_otel.instrument(client).",
        *_over_grpc(receiver.grpc_endpoint),
        *_over_http(receiver.http_endpoint),
        "Spans come every 5 seconds, metrics every 60 and at exit. To have them every 5:",
        _code("export OTEL_METRIC_EXPORT_INTERVAL=5000"),
        Text("Ctrl-C ends this.", style="dim"),
    )


def _over_grpc(endpoint: str) -> list[RenderableType]:
    if endpoint == GRPC_ENDPOINT:
        return [f"Over gRPC it sends here by itself, unless {_ENDPOINT} is set. Over HTTP:"]
    return ["Over gRPC:", _code(f"export {_ENDPOINT}={endpoint}"), "Over HTTP:"]


def _over_http(endpoint: str) -> list[RenderableType]:
    where = [] if endpoint == HTTP_ENDPOINT else [f"export {_ENDPOINT}={endpoint}"]
    return [_code(f"export {_OVER_HTTP}", *where)]


def nothing_arrived(receiver: OtlpReceiver) -> RenderableType:
    """What may be the reason."""
    return Group(
        Text("Nothing of llm-cache-otel has arrived.", style="bold"),
        *_others(receiver),
        "",
        "Does the program",
        "- call instrument(client), and after it has set up OpenTelemetry, if it does?",
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


def _others(receiver: OtlpReceiver) -> list[RenderableType]:
    spans, points = len(receiver.spans), len(receiver.metrics().points)
    if not spans and not points:
        return []
    come = f"{counted(spans, 'span', 'spans')} and {counted(points, 'time series', 'time series')}"
    return [Text(f"{come} have come, and none of llm-cache-otel.", style="yellow")]


def _code(*lines: str) -> RenderableType:
    return Padding("\n".join(lines), (1, 0, 1, 4), expand=False)

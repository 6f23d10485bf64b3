"""Arguments that stand in for variables whose values are no good.

Left to read those by itself, the SDK raises for some and complains of others. `bad` are the names of
such variables; everything else stays unset here, and is read by the SDK.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal

Signal = Literal["traces", "metrics"]
Arguments = dict[str, Any]

_OTLP = "OTEL_EXPORTER_OTLP_"


def batch_arguments(bad: AbstractSet[str]) -> Arguments:
    """For `BatchSpanProcessor`, which refuses a batch that is larger than its queue."""
    arguments = _instead(
        bad,
        {
            "OTEL_BSP_SCHEDULE_DELAY": ("schedule_delay_millis", 5000),
            "OTEL_BSP_EXPORT_TIMEOUT": ("export_timeout_millis", 30000),
            "OTEL_BSP_MAX_QUEUE_SIZE": ("max_queue_size", 2048),
        },
    )
    queue = _size("OTEL_BSP_MAX_QUEUE_SIZE", 2048, bad)
    batch = _size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, queue), bad)
    return arguments | {"max_export_batch_size": min(batch, queue)}


def _size(variable: str, default: int, bad: AbstractSet[str]) -> int:
    given = os.environ.get(variable)
    try:
        return default if given is None else int(given)
    except ValueError:
        assert variable in bad
        return default


def reader_arguments(bad: AbstractSet[str]) -> Arguments:
    """For `PeriodicExportingMetricReader`."""
    return _instead(
        bad,
        {
            "OTEL_METRIC_EXPORT_INTERVAL": ("export_interval_millis", 60000),
            "OTEL_METRIC_EXPORT_TIMEOUT": ("export_timeout_millis", 30000),
        },
    )


def limit_arguments(bad: AbstractSet[str], unlimited: int) -> Arguments:
    """For `SpanLimits`."""
    return _instead(
        bad,
        {
            "OTEL_ATTRIBUTE_COUNT_LIMIT": ("max_attributes", 128),
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ("max_span_attributes", 128),
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": ("max_event_attributes", 128),
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": ("max_link_attributes", 128),
            "OTEL_SPAN_EVENT_COUNT_LIMIT": ("max_events", 128),
            "OTEL_SPAN_LINK_COUNT_LIMIT": ("max_links", 128),
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("max_attribute_length", unlimited),
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("max_span_attribute_length", unlimited),
        },
    )


def _instead(bad: AbstractSet[str], arguments: Mapping[str, tuple[str, Any]]) -> Arguments:
    return dict(argument for variable, argument in arguments.items() if variable in bad)


def otlp_arguments(name: str, signal: Signal, bad: AbstractSet[str]) -> Arguments:
    """For the OTLP exporter of this entry point's name."""
    otlp = _Otlp(signal, bad)
    if name == "otlp_proto_grpc":
        return _grpc_arguments(otlp, bad)
    return _http_arguments(otlp) if name == "otlp_proto_http" else {}


class _Otlp:
    """The variables of one signal: its own go before those of all signals."""

    def __init__(self, signal: Signal, bad: AbstractSet[str]) -> None:
        self._own = f"{_OTLP}{signal.upper()}_"
        self._bad = bad
        self.provider = f"{signal.upper()}_CREDENTIAL_PROVIDER"

    def variable(self, name: str) -> str:
        return self._own + name if os.environ.get(self._own + name) else _OTLP + name

    def is_bad(self, name: str) -> bool:
        return self.variable(name) in self._bad

    def file(self, name: str) -> str | None:
        return None if self.is_bad(name) else os.environ.get(self.variable(name)) or None

    def has_bad_files(self, protocol: str) -> bool:
        providers = "CREDENTIAL_PROVIDER", self.provider
        names = (f"OTEL_PYTHON_EXPORTER_OTLP_{protocol}_{provider}" for provider in providers)
        files = "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"
        return any(map(self.is_bad, files)) or not self._bad.isdisjoint(names)


def _grpc_arguments(otlp: _Otlp, bad: AbstractSet[str]) -> Arguments:
    import grpc

    arguments: Arguments = {}
    endpoint = os.environ.get(otlp.variable("ENDPOINT")) or "http://localhost:4317"
    if otlp.is_bad("ENDPOINT") and not os.environ.get(otlp.variable("ENDPOINT")):
        arguments["endpoint"] = endpoint
    if otlp.is_bad("INSECURE"):
        arguments["insecure"] = endpoint.lower().startswith("http://")
    if otlp.is_bad("TIMEOUT"):
        arguments["timeout"] = 10.0
    if otlp.is_bad("COMPRESSION"):
        arguments["compression"] = grpc.Compression.NoCompression
    if "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES" in bad:
        from opentelemetry.exporter.otlp.proto.grpc import exporter

        arguments["retryable_error_codes"] = exporter._RETRYABLE_ERROR_CODES
    if otlp.has_bad_files("GRPC"):
        authority = otlp.file("CERTIFICATE")
        roots = Path(authority).read_bytes() if authority else None
        arguments["credentials"] = grpc.ssl_channel_credentials(root_certificates=roots)
    return arguments


def _http_arguments(otlp: _Otlp) -> Arguments:
    arguments: Arguments = {"timeout": 10.0} if otlp.is_bad("TIMEOUT") else {}
    if otlp.has_bad_files("HTTP"):
        from opentelemetry.exporter.http.transport._requests import RequestsHTTPTransport

        authority = otlp.file("CERTIFICATE")
        arguments["_transport"] = RequestsHTTPTransport(verify=authority or True)
    return arguments

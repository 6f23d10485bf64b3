"""An OTLP exporter as it was built, and what is answered when something is sent through it.

The one place that knows the exporters' insides: they themselves only log what came back.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llm_cache_otel.cli.doctor.answer import Answer, accepted, date_in, of_http
from llm_cache_otel.emit.pipeline.fallbacks import Signal

_ENCODE: dict[Signal, Callable[[Any], Any]] = {"traces": encode_spans, "metrics": encode_metrics}
_RESPONSE: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
_USUAL_HEADERS = {"content-type", "content-encoding", "user-agent"}
_PORTS = {"http": 80, "https": 443}
_LONGEST_MESSAGE = 160


class Otlp(ABC):
    """An exporter, with the URL it sends to, whichever way that was given to it."""

    protocol: str
    compression: str
    timeout: float

    def __init__(self, signal: Signal, url: str, headers: Mapping[str, str]) -> None:
        self._signal = signal
        self.url = url
        self.header_names = sorted(headers)
        split = urlsplit(url)
        self.tls = split.scheme == "https"
        self.host = split.hostname or ""
        try:
            port = split.port
        except ValueError:
            port = None
        self.port = port or self._default_port(split.scheme)
        user = url.rpartition("@")[0].rpartition("//")[2]  # also of what is no URL
        secrets = (*headers.values(), *user.split(":"), url.partition("?")[2])
        parts = (part for secret in secrets if secret for part in (secret, *secret.split()))
        # The longest first, so that no rest of one is left. What is shorter is no secret.
        self._secrets = sorted((part for part in parts if len(part) >= 4), key=len, reverse=True)

    def send(self, telemetry: Any, timeout: float) -> Answer:
        """Never raises; it may well block, for instance while a name is looked up."""
        started = time.monotonic()
        try:
            answer = self._send(_ENCODE[self._signal](telemetry), timeout)
        except Exception as error:
            answer = Answer(accepted=False, message=f"{type(error).__name__}: {error}")
        message = self._without_secrets(answer.message)
        return replace(answer, message=message, seconds=time.monotonic() - started)

    @abstractmethod
    def _send(self, request: Message, timeout: float) -> Answer: ...

    def _default_port(self, scheme: str) -> int:
        return _PORTS.get(scheme, 0)

    def _without_secrets(self, message: str) -> str:
        for secret in self._secrets:
            for form in (secret, unquote(secret), repr(secret)[1:-1]):
                message = message.replace(form, "***")
        # A server's words must not steer the terminal.
        message = "".join(sign if sign.isprintable() else " " for sign in message)
        message = " ".join(message.split())
        short = len(message) <= _LONGEST_MESSAGE
        return message if short else f"{message[: _LONGEST_MESSAGE - 3]}..."


class OtlpGrpc(Otlp):
    protocol = "grpc"

    def __init__(self, exporter: Any, signal: Signal) -> None:
        self._stub: Any = exporter._client
        self._metadata = tuple(exporter._headers)
        target = exporter._endpoint.removeprefix("dns:///")
        scheme = "http" if exporter._insecure else "https"
        # A target like unix:///run/otel is no host and port.
        url = target if "/" in target else f"{scheme}://{target}"
        super().__init__(signal, url, dict(self._metadata))
        self.timeout = float(exporter._timeout)
        self.compression = exporter._compression.name.lower().replace("nocompression", "none")

    def _default_port(self, scheme: str) -> int:
        return 443

    def _send(self, request: Message, timeout: float) -> Answer:
        try:
            response, call = self._stub.Export.with_call(
                request, metadata=self._metadata, timeout=timeout
            )
        except grpc.RpcError as error:
            refusal: Any = error
            date = date_in(refusal.initial_metadata() or ())
            message = str(refusal.details() or "").rpartition("; last error: ")[2]
            return Answer(accepted=False, code=refusal.code().name, message=message, date=date)
        return accepted(response, "OK", date_in(call.initial_metadata() or ()))


class OtlpHttp(Otlp):
    protocol = "http/protobuf"

    def __init__(self, exporter: Any, signal: Signal) -> None:
        self._client: Any = exporter._client
        headers = {
            name: value
            for name, value in self._client._headers.items()
            if name.lower() not in _USUAL_HEADERS
        }
        super().__init__(signal, exporter._endpoint, headers)
        self.timeout = float(self._client._timeout)
        self.compression = self._client._compression.value

    def _send(self, request: Message, timeout: float) -> Answer:
        result = self._client._transport.request(
            "POST",
            self.url,
            headers=self._client._headers,
            data=self._client._compress(request.SerializeToString()),
            timeout=timeout,
        )
        return of_http(result, _RESPONSE[self._signal])


def otlp(exporter: Any, signal: Signal) -> Otlp | None:
    """`None` for an exporter of another kind, one to the console for instance."""
    client = getattr(exporter, "_client", None)
    if hasattr(client, "Export"):
        return OtlpGrpc(exporter, signal)
    if hasattr(client, "_transport"):
        return OtlpHttp(exporter, signal)
    return None

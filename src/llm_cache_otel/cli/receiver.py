"""An OTLP receiver: gRPC and HTTP/protobuf, traces and metrics, on loopback ports."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,  # pyright: ignore[reportUnknownVariableType]
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,  # pyright: ignore[reportUnknownVariableType]
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from llm_cache_otel.cli import decode
from llm_cache_otel.cli.received import ReceivedMetrics, ReceivedSpan
from llm_cache_otel.cli.serving import ThreadedServer
from llm_cache_otel.cli.store import TelemetryStore

_PROTOBUF = "application/x-protobuf"
_LARGEST_MESSAGE = 64 * 1024 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32

_Request = TypeVar("_Request", bound=Message)


class OtlpReceiver:
    """Receives into `store` for as long as it is open: `with OtlpReceiver() as receiver: ...`.

    Raises:
        OSError: a port that was asked for is taken.
    """

    def __init__(self, *, grpc_port: int = 0, http_port: int = 0) -> None:
        self.store = TelemetryStore()
        self._grpc = grpc.server(
            ThreadPoolExecutor(thread_name_prefix="llm_cache_otel-otlp"),
            # Without the first, two receivers could share a port and each get half of what is sent.
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ),
        )
        traces, metrics = _Traces(self.store), _Metrics(self.store)
        add_TraceServiceServicer_to_server(traces, self._grpc)  # type: ignore[no-untyped-call]
        add_MetricsServiceServicer_to_server(metrics, self._grpc)  # type: ignore[no-untyped-call]
        try:
            self._grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
        except RuntimeError as error:
            raise OSError(f"port {grpc_port} on 127.0.0.1 is taken") from error
        routes = [
            _route("/v1/traces", ExportTraceServiceRequest, traces.Export),
            _route("/v1/metrics", ExportMetricsServiceRequest, metrics.Export),
        ]
        self._http = ThreadedServer(Starlette(routes=routes), port=http_port)

    @property
    def grpc_endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be where the protocol is `grpc`."""
        return f"http://127.0.0.1:{self._grpc_port}"

    @property
    def http_endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be where the protocol is `http/protobuf`."""
        return self._http.url

    @property
    def spans(self) -> list[ReceivedSpan]:
        return self.store.spans

    def metrics(self) -> ReceivedMetrics:
        return self.store.metrics()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Whether `condition()` came to hold within `timeout` seconds, as things arrived."""
        return self.store.wait_for(condition, timeout)

    def __enter__(self) -> Self:
        self._http.start()
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(grace=1).wait()
        self._http.stop()


class _Traces(TraceServiceServicer):
    """The service over gRPC; `Export` answers HTTP as well."""

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store

    def Export(self, request: ExportTraceServiceRequest, context: object = None) -> Message:
        self._store.add_spans(decode.spans(request))
        return ExportTraceServiceResponse()


class _Metrics(MetricsServiceServicer):
    """The service over gRPC; `Export` answers HTTP as well."""

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store

    def Export(self, request: ExportMetricsServiceRequest, context: object = None) -> Message:
        self._store.add_points(decode.points(request))
        return ExportMetricsServiceResponse()


def _decompressed(body: bytes) -> bytes:
    """Raises `ValueError` for more than the largest message: it may grow a thousandfold."""
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    whole = stream.decompress(body, _LARGEST_MESSAGE)
    if stream.unconsumed_tail:
        raise ValueError("too large")
    return whole


def _route(path: str, kind: type[_Request], export: Callable[[_Request], Message]) -> Route:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-type", "").split(";")[0] != _PROTOBUF:
            return PlainTextResponse(f"only {_PROTOBUF} is understood", 415)
        try:
            if request.headers.get("content-encoding", "identity") != "identity":
                body = _decompressed(body)
            message = kind.FromString(body)
        except (DecodeError, ValueError, zlib.error) as error:
            return PlainTextResponse(f"the body could not be read: {error}", 400)
        return Response(export(message).SerializeToString(), media_type=_PROTOBUF)

    return Route(path, endpoint, methods=["POST"])

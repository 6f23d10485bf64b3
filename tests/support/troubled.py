"""A Collector in trouble on cue: a receiver that is well, behind a front on a port that stays the same."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
import httpx
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.serving import ThreadedServer


@dataclass(frozen=True)
class Trouble:
    """What becomes of a request: seconds until it is answered, and if not well, how."""

    delay: float = 0.0
    status: int = 200
    code: grpc.StatusCode = grpc.StatusCode.OK
    retry_after: int | None = None


WELL = Trouble()
SLOW = Trouble(delay=0.4)
HANGING = Trouble(delay=3600)
UNAVAILABLE = Trouble(0, 503, grpc.StatusCode.UNAVAILABLE)
INTERNAL = Trouble(0, 500, grpc.StatusCode.INTERNAL)
UNAUTHENTICATED = Trouble(0, 401, grpc.StatusCode.UNAUTHENTICATED)
THROTTLING = Trouble(0, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=1)


class TroubledCollector:
    """Serves one protocol on `port`. What it has let through is in `receiver`.

    `cue` says what becomes of requests from now on; `kill` closes the port, and breaks off what is under
    way, until `revive`; `deafen` accepts connections there that nobody ever reads from.
    """

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.receiver = OtlpReceiver()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._trouble = WELL
        self._changed = threading.Condition()
        self._front = contextlib.ExitStack()
        self._to_receiver = httpx.Client(trust_env=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.receiver.__exit__()
        self._to_receiver.close()

    def cue(self, trouble: Trouble) -> None:
        with self._changed:
            self._trouble = trouble
            self._changed.notify_all()

    def kill(self) -> None:
        self.cue(UNAVAILABLE)  # what hangs would be waited for
        self._front.close()

    def deafen(self) -> None:
        self.kill()
        self._front.enter_context(socket.create_server(("127.0.0.1", self.port)))

    def revive(self) -> None:
        self._front.close()
        self.cue(WELL)
        serve = self._serve_grpc if self.protocol == "grpc" else self._serve_http
        self._front.enter_context(serve())

    def _meet_trouble(self) -> Trouble:
        """The trouble that a request which arrives now is in, once it has taken its time."""
        with self._changed:
            trouble = self._trouble
            ends = time.monotonic() + trouble.delay
            while self._trouble is trouble and time.monotonic() < ends:
                self._changed.wait(ends - time.monotonic())
            # One that has hung is never answered well: its sender may have given up long ago.
            return UNAVAILABLE if trouble is HANGING else trouble

    @contextlib.contextmanager
    def _serve_grpc(self) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(), options=[("grpc.so_reuseport", 0)])
        address = self.receiver.grpc_endpoint.removeprefix("http://")
        with grpc.insecure_channel(address) as channel:
            server.add_generic_rpc_handlers([_GrpcFront(self, channel)])
            server.add_insecure_port(f"127.0.0.1:{self.port}")
            server.start()
            yield
            server.stop(grace=None).wait()

    @contextlib.contextmanager
    def _serve_http(self) -> Iterator[None]:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            return await run_in_threadpool(self._answer_http, request, body)

        server = ThreadedServer(
            Starlette(routes=[Route("/{path:path}", endpoint, methods=["POST"])]), port=self.port
        )
        server.start()
        yield
        server.stop()

    def _answer_http(self, request: Request, body: bytes) -> Response:
        trouble = self._meet_trouble()
        if trouble.status != 200:
            wait = {} if trouble.retry_after is None else {"Retry-After": str(trouble.retry_after)}
            return Response("in trouble on cue", trouble.status, wait)
        url = f"{self.receiver.http_endpoint}{request.url.path}"
        kept = {"content-type", "content-encoding"} & set(request.headers)
        headers = {name: request.headers[name] for name in kept}
        answer = self._to_receiver.post(url, content=body, headers=headers)
        return Response(answer.content, answer.status_code, media_type="application/x-protobuf")


class _GrpcFront(grpc.GenericRpcHandler):
    """Hands requests on as the bytes they are."""

    def __init__(self, collector: TroubledCollector, channel: grpc.Channel) -> None:
        self._collector = collector
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        hand_on = self._channel.unary_unary(details.method)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            trouble = self._collector._meet_trouble()
            if trouble.retry_after is not None:
                wait = RetryInfo(retry_delay=Duration(seconds=trouble.retry_after))
                context.set_trailing_metadata(
                    [("google.rpc.retryinfo-bin", wait.SerializeToString())]
                )
            if trouble.code is not grpc.StatusCode.OK:
                context.abort(trouble.code, "in trouble on cue")
            return hand_on(request)

        return grpc.unary_unary_rpc_method_handler(answer)

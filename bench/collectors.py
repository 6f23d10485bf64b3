"""Collectors for a private pipeline over gRPC to send to: one that answers, and those that are in trouble."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc

from llm_cache_otel.cli.receiver import OtlpReceiver


@contextmanager
def collectors() -> Iterator[dict[str, str]]:
    """Endpoints, by what becomes of what is sent there."""
    with ExitStack() as stack, OtlpReceiver() as receiver:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        with socket.create_server(("127.0.0.1", 0)) as given_up:
            absent = _endpoint(given_up.getsockname()[1])
        yield {
            "answers": receiver.grpc_endpoint,
            "is absent": absent,
            "hangs": _endpoint(deaf.getsockname()[1]),
            "refuses": stack.enter_context(_aborting(grpc.StatusCode.UNAUTHENTICATED)),
            "throttles": stack.enter_context(_aborting(grpc.StatusCode.UNAVAILABLE)),
        }


def _endpoint(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@contextmanager
def _aborting(code: grpc.StatusCode) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers([_Aborts(code)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield _endpoint(port)
    server.stop(grace=None).wait()


class _Aborts(grpc.GenericRpcHandler):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def service(self, handler_call_details: object) -> Any:
        abort: Callable[..., Any] = lambda _, context: context.abort(self._code, "for the bench")
        return grpc.unary_unary_rpc_method_handler(abort)

"""Runs an ASGI application on a loopback port, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import uvicorn

_START_TIMEOUT = 10.0


class ThreadedServer:
    """`start()` returns when requests are answered; `stop()` when the thread has ended.

    Raises:
        OSError: the port is taken.
        RuntimeError: the server did not come up within 10 seconds.
    """

    def __init__(self, application: Any, *, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        # asyncio sets this itself only on sockets made with an explicit protocol number.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=60,  # httpx' clients let go after 5: a server that does so first fails a call
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            args=([self._socket],),
            name="llm_cache_otel-server",
            daemon=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError(f"the server on {self.url} did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(_START_TIMEOUT)
        self._socket.close()

"""A server to which Alertmanager sends its notifications, and which keeps them."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Notice:
    """One alert of one notification."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Webhook:
    """`with Webhook() as webhook:` at `webhook.address`; `authorizations` are those it was asked with.

    `sizes` is how many alerts each message had.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.authorizations: set[str] = set()
        self.sizes: list[int] = []
        keeps = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                keeps._keep(self.path.strip("/"), self.headers.get("Authorization", ""), body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def of(self, name: str, status: str = "firing") -> list[Notice]:
        return [each for each in self.notices if (each.name, each.status) == (name, status)]

    def _keep(self, receiver: str, authorization: str, body: dict[str, Any]) -> None:
        self.authorizations.add(authorization)
        self.sizes.append(len(body["alerts"]))
        self.notices += [
            Notice(receiver, alert["status"], alert["labels"], alert["annotations"])
            for alert in body["alerts"]
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

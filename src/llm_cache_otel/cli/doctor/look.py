"""What a port does: whether it can be reached, whether it speaks TLS, and which HTTP."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from requests.utils import DEFAULT_CA_BUNDLE_PATH

T = TypeVar("T")

Trouble = Literal["", "name", "refused", "unreachable"]
Spoken = Literal["", "grpc", "http"]
Certificate = Literal["", "expired", "not yet valid", "host name", "issuer", "unreadable"]

_HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4
"""The kind of the first frame that a server of HTTP/2 sends."""

_HTTP_1 = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_VERIFY_ERRORS: dict[int, Certificate] = {
    9: "not yet valid",
    10: "expired",
    62: "host name",
    64: "host name",
}
"""OpenSSL's `X509_V_ERR_*`; all others are about who issued the certificate."""


@dataclass(frozen=True)
class Look:
    """`speaks` is empty where nothing was said that could be understood."""

    trouble: Trouble = ""
    tls: bool = False
    speaks: Spoken = ""
    certificate: Certificate = ""
    """What is wrong with the server's."""


def look(host: str, port: int, authority: str | None, timeout: float) -> Look:
    """Never raises, and takes no longer than a few timeouts.

    `authority` is the file with the certificate authorities to trust, by default the usual ones.
    """
    if not in_time(lambda: socket.getaddrinfo(host, port), timeout):
        return Look("name")
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return Look("refused")
    except OSError:
        return Look("unreachable")
    # TLS first, because servers of HTTPS answer plain HTTP too, if only to complain.
    try:
        _encrypted(host, port, timeout).close()
    except OSError:
        spoken = _spoken(lambda: socket.create_connection((host, port), timeout))
        return Look(speaks=spoken)
    spoken = _spoken(lambda: _encrypted(host, port, timeout))
    return Look(tls=True, speaks=spoken, certificate=_certificate(host, port, authority, timeout))


def listens(host: str, port: int, timeout: float) -> bool:
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True


def in_time(function: Callable[[], T], timeout: float) -> T | None:
    """What `function` returns, or `None` if it raises or is not done in time."""
    results: list[T] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception:
            return

    thread = threading.Thread(target=run, name="llm_cache_otel-doctor", daemon=True)
    thread.start()
    thread.join(timeout)
    return results[0] if results else None


def _encrypted(host: str, port: int, timeout: float) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing but a greeting is sent
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = socket.create_connection((host, port), timeout)
    return context.wrap_socket(connection, server_hostname=host)


def _spoken(connect: Callable[[], socket.socket]) -> Spoken:
    for greeting in (_HTTP_2, _HTTP_1):
        try:
            with connect() as connection:
                connection.sendall(greeting)
                answer = connection.recv(64)
        except TimeoutError:
            return ""
        except OSError:
            continue
        if answer.startswith(b"HTTP/1"):
            return "http"
        if len(answer) >= 9 and answer[3] == _SETTINGS:
            return "grpc"
    return ""


def _certificate(host: str, port: int, authority: str | None, timeout: float) -> Certificate:
    try:
        context = ssl.create_default_context(cafile=authority or DEFAULT_CA_BUNDLE_PATH)
    except OSError:
        return "unreadable"
    try:
        with (
            socket.create_connection((host, port), timeout) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return _VERIFY_ERRORS.get(error.verify_code, "issuer")
    except OSError:
        return ""

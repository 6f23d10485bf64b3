"""What comes back from where a test was sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from urllib3.exceptions import ProtocolError

_PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Answer:
    """`code` is gRPC's or HTTP's, and empty where there was no answer."""

    accepted: bool
    code: str = ""
    message: str = ""
    rejected: int = 0
    """How many spans or data points an accepting receiver dropped all the same."""
    redirect: str = ""
    date: datetime | None = None
    seconds: float = 0.0


def accepted(response: Any, code: str, date: datetime | None) -> Answer:
    """Of an OTLP response."""
    partial = response.partial_success
    counts = ("rejected_spans", "rejected_data_points")
    rejected = sum(getattr(partial, count, 0) for count in counts)
    return Answer(
        accepted=True, code=code, message=partial.error_message, rejected=rejected, date=date
    )


def of_http(result: Any, response: type[Message]) -> Answer:
    """Of what the exporters' HTTP transport returns."""
    if result.status_code is None:
        return Answer(accepted=False, message=_why_none(result.error))
    headers, code = result.headers(), str(result.status_code)
    date, redirect = date_in(headers.items()), headers.get("location", "")
    content_type = headers.get("content-type", "")
    if not code.startswith("2") or "html" in content_type:
        message = _in_words(result, content_type)
        return Answer(accepted=False, code=code, message=message, redirect=redirect, date=date)
    try:
        return accepted(response.FromString(result.content()), code, date)
    except DecodeError:  # JSON perhaps, which the exporter takes for acceptance as well
        return Answer(accepted=True, code=code, date=date)


def _why_none(error: Exception) -> str:
    """requests wraps what happened in what it was doing, and urllib3 once more."""
    doing = next(iter(error.args), None)
    cause = getattr(doing, "reason", error)
    if isinstance(doing, ProtocolError):
        cause = doing.args[-1]
    # It quotes the first bytes of the answer, of HTTP/2 for instance, which nobody can read.
    if isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected):
        return "the answer is no HTTP/1.1"
    return str(cause)


def date_in(headers: Iterable[tuple[str, Any]]) -> datetime | None:
    for name, value in headers:
        if name.lower() == "date":
            try:
                return parsedate_to_datetime(str(value))
            except ValueError:
                return None
    return None


def _in_words(result: Any, content_type: str) -> str:
    """An OTLP receiver answers with a `google.rpc.Status`, others with text or a page."""
    if content_type.startswith(_PROTOBUF):
        try:
            return str(Status.FromString(result.content()).message) or str(result.reason)
        except DecodeError:
            return str(result.reason)
    body = "" if "html" in content_type else result.content().decode(errors="replace").strip()
    return ": ".join(dict.fromkeys(filter(None, (result.reason, body))))

"""What an answer means that came, and how much of the test it says was taken."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.connections import behind_proxy, connection_finding
from llm_cache_otel.cli.doctor.finding import PREFIX, Attempt, Finding
from llm_cache_otel.cli.doctor.proxies import proxy_for
from llm_cache_otel.cli.doctor.remarks import of_endpoint
from llm_cache_otel.emit.environment.rules import masked

_MOST_SKEW = 60.0
_NO_ANSWER = {"", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL", "CANCELLED"}
"""Codes that gRPC also makes up itself, without any answer."""

_BY_PROXIES = {"403", "407", "502", "503", "504"}
_HTTP_STATUS = re.compile(r"Received http2 header with status: (\d+)")
"""What gRPC says of an answer that is HTTP/2 and not gRPC."""

_MEANT_FOR_SENDERS = {"401", "403", "429"}
"""Of them gRPC makes codes that mean the same."""


def finding_of(attempt: Attempt, timeout: float) -> Finding | None:
    """`None` if everything that was sent was taken."""
    answer = attempt.answer
    if answer.accepted:
        return _partial(answer)
    nothing_can_be_sent = of_endpoint(attempt)
    if nothing_can_be_sent is not None:
        return nothing_can_be_sent
    unencrypted_complaint = answer.code == "400" and not attempt.otlp.tls
    if answer.code in _NO_ANSWER or unencrypted_complaint:
        finding = connection_finding(attempt, timeout)
        if finding is not None:
            return finding
    proxy = proxy_for(attempt.otlp, attempt.environment)
    if proxy is not None and answer.code in _BY_PROXIES:
        return behind_proxy(attempt, proxy, can_do_without=False)
    return _refusal(attempt)


def skew(answer: Answer, now: datetime) -> float | None:
    """How many seconds this clock is ahead; `None` where the answer bears no date."""
    return None if answer.date is None else (now - answer.date.astimezone(UTC)).total_seconds()


def clock_finding(skew: float | None) -> Finding | None:
    if skew is None or abs(skew) <= _MOST_SKEW:
        return None
    ahead = "ahead of" if skew > 0 else "behind"
    return Finding(
        f"This machine's clock is {abs(skew):,.0f} s {ahead} the receiver's.",
        "Set the clock, by NTP for instance: backends drop or misplace what comes from another time.",
        serious=False,
    )


def _partial(answer: Answer) -> Finding | None:
    if not answer.rejected and not answer.message:
        return None
    dropped = f"dropped {answer.rejected} of it" if answer.rejected else "has something to say"
    return Finding(
        f"The receiver accepted the test, but {dropped}: {answer.message or 'it does not say why'}.",
        "Mend what it says, or look at its log.",
        serious=bool(answer.rejected),
    )


def _refusal(attempt: Attempt) -> Finding:
    code, message = attempt.answer.code, attempt.answer.message
    if not code:
        return Finding(
            f"Nothing could be sent: {message}.", "Correct what is said of the settings."
        )
    said = f"{attempt.place} answers {code} ({message})" if message else f"It answers {code}"
    status = _HTTP_STATUS.search(message) if attempt.otlp.protocol == "grpc" else None
    explain = _EXPLAINED.get(code) or _EXPLAINED.get(code[0])
    if status is not None and status[1] not in _MEANT_FOR_SENDERS:
        explain = _not_grpc
    if explain is None:
        return Finding(f"{said}.", "Look at the log of the Collector or the backend.")
    what, mend = explain(attempt)
    return Finding(f"{said}: {what}.", mend)


def _unauthorized(attempt: Attempt) -> tuple[str, str]:
    names = ", ".join(attempt.otlp.header_names)
    sent = f"the headers sent were {names}" if names else "no header was sent"
    mend = f"Set {attempt.variable('HEADERS')} as the backend wants it, or renew the token: "
    example = "authorization=Bearer%20<token>, for instance."
    return f"it does not know who sends, or does not let them; {sent}", mend + example


def _redirected(attempt: Attempt) -> tuple[str, str]:
    what = f"it redirects to {masked(attempt.answer.redirect) or 'elsewhere'}, which the exporter takes "
    what += "for success and does not follow, so that everything is lost"
    return what, f"Set {attempt.variable('ENDPOINT')} to where it redirects to."


def _not_otlp(attempt: Attempt) -> tuple[str, str]:
    return (
        "that is not an OTLP receiver's answer; something else listens there",
        f"Correct host and port in {attempt.variable('ENDPOINT')}.",
    )


def _not_grpc(attempt: Attempt) -> tuple[str, str]:
    mend = f"Correct host and port in {attempt.variable('ENDPOINT')}, or have the ingress or proxy "
    return (
        "no OTLP/gRPC receiver answers there, but another server, an ingress or a proxy",
        f"{mend}pass gRPC on to a Collector.",
    )


def _unimplemented(attempt: Attempt) -> tuple[str, str]:
    off = f"set OTEL_{attempt.signal.upper()}_EXPORTER=none"
    return f"it takes no {attempt.signal} over gRPC", f"{_add_pipeline(attempt)}, or {off}."


def _no_such_path(attempt: Attempt) -> tuple[str, str]:
    endpoint, url = attempt.variable("ENDPOINT"), attempt.otlp.url
    path = "/" + url.partition("://")[2].partition("/")[2]
    if endpoint != f"{PREFIX}ENDPOINT" and not path.endswith(attempt.path):
        mend = f"{endpoint} is used as it is. Set it to {attempt.url()}."
    elif path.count("/v1/") > 1:
        base = url.partition("/v1/")[0]
        mend = f"{attempt.path} is added to {endpoint}. Set it to {masked(base)}."
    else:
        mend = f"Correct {endpoint}. If a Collector is there: {_add_pipeline(attempt)}."
    return f"nothing is served at {path}", mend


def _media_type(attempt: Attempt) -> tuple[str, str]:
    mend = f"Correct {attempt.variable('ENDPOINT')}; remove any content-type from "
    return "it does not take OTLP as protobuf", f"{mend}{attempt.variable('HEADERS')}."


def _throttled(attempt: Attempt) -> tuple[str, str]:
    return (
        "it can be reached, but takes no more for now",
        "Wait and try again. Look at its log, its memory limiter, and the quota of the backend.",
    )


def _add_pipeline(attempt: Attempt) -> str:
    section = f"service.pipelines.{attempt.signal}.receivers"
    return f"Add otlp to {section} in the Collector's configuration"


_EXPLAINED = {
    "2": _not_otlp,
    "3": _redirected,
    "401": _unauthorized,
    "403": _unauthorized,
    "UNAUTHENTICATED": _unauthorized,
    "PERMISSION_DENIED": _unauthorized,
    "404": _no_such_path,
    "405": _no_such_path,
    "UNIMPLEMENTED": _unimplemented,
    "415": _media_type,
    "429": _throttled,
    "503": _throttled,
    "RESOURCE_EXHAUSTED": _throttled,
    "UNAVAILABLE": _throttled,
}
"""By code, or the first digit of HTTP's."""

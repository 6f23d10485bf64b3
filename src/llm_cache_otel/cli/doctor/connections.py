"""Why there was no answer, or none of an OTLP receiver's: by a look at what the port does."""

from __future__ import annotations

from llm_cache_otel.cli.doctor.finding import PREFIX, Attempt, Finding
from llm_cache_otel.cli.doctor.look import Look, listens, look
from llm_cache_otel.cli.doctor.proxies import Proxy, proxy_for
from llm_cache_otel.emit.environment.rules import masked

_LONGEST_LOOK = 2.0
_STANDARD_PORTS = {"grpc": 4317, "http/protobuf": 4318}
_OTHER = {"grpc": "http/protobuf", "http/protobuf": "grpc"}
_SPOKEN = {"grpc": "grpc", "http/protobuf": "http"}


def connection_finding(attempt: Attempt, timeout: float) -> Finding | None:
    """`None` where the connection is as it should be, and only the answer is not."""
    otlp = attempt.otlp
    if not otlp.host:
        return None
    timeout = min(timeout, _LONGEST_LOOK)
    authority = attempt.environment.get(attempt.variable("CERTIFICATE")) or None
    seen = look(otlp.host, otlp.port, authority, timeout)
    proxy = proxy_for(otlp, attempt.environment)
    if proxy is not None:
        return behind_proxy(attempt, proxy, can_do_without=not seen.trouble)
    if seen.trouble:
        return _not_reached(attempt, seen, timeout)
    return _not_understood(attempt, seen)


def _not_understood(attempt: Attempt, seen: Look) -> Finding | None:
    if seen.tls and not attempt.otlp.tls:
        return _wants_tls(attempt, seen)
    if seen.speaks and attempt.otlp.tls and not seen.tls:
        return _speaks_no_tls(attempt, seen)
    if seen.certificate:
        return _certificate(attempt, seen)
    if not seen.speaks:
        return _says_nothing(attempt, seen)
    right = seen.speaks == _SPOKEN[attempt.otlp.protocol]
    return None if right else _speaks_the_other(attempt)


def behind_proxy(attempt: Attempt, proxy: Proxy, *, can_do_without: bool) -> Finding:
    said = f"{attempt.answer.code} {attempt.answer.message}".strip()
    what = f"It goes through the proxy {masked(proxy.url)}, as {proxy.variable} says, and fails: {said}."
    if can_do_without:
        what += f" Without the proxy, {attempt.place} can be reached."
    small = " (gRPC reads it in small letters only)" if attempt.otlp.protocol == "grpc" else ""
    exempt = f"Set {proxy.exempts}={attempt.otlp.host}{small} to go without the proxy"
    return Finding(what, f"{exempt}, or correct {proxy.variable}.")


def _not_reached(attempt: Attempt, seen: Look, timeout: float) -> Finding:
    otlp, endpoint = attempt.otlp, attempt.variable("ENDPOINT")
    if seen.trouble == "name":
        return Finding(
            f"The name {otlp.host} can't be looked up.",
            f"Correct the host in {endpoint}, or the DNS of this machine or container.",
        )
    if seen.trouble == "unreachable":
        return Finding(
            f"{attempt.place} can't be reached: there is no reply at all, not even a refusal.",
            f"Correct host and port in {endpoint}, or ask what a firewall or network policy lets through.",
        )
    other = _OTHER[otlp.protocol]
    port = _STANDARD_PORTS[other]
    if otlp.port == _STANDARD_PORTS[otlp.protocol] and listens(otlp.host, port, timeout):
        url = attempt.url(port=port, protocol=other)
        return Finding(
            f"Nobody listens on {attempt.place}. On port {port}, the one for {other}, somebody does.",
            f"Set {attempt.variable('PROTOCOL')}={other} and {endpoint}={url}.",
        )
    container = " In a container, localhost is the container itself." if attempt.is_local else ""
    return Finding(
        f"Nobody listens on {attempt.place}.",
        f"Start the Collector there, or set {endpoint} to where it is.{container}",
    )


def _wants_tls(attempt: Attempt, seen: Look) -> Finding:
    authority = ""
    if seen.certificate == "issuer":
        authority = (
            f", and {PREFIX}CERTIFICATE to a file with the authority that issued its certificate"
        )
    return Finding(
        f"{attempt.place} wants TLS, and was spoken to without.",
        f"Set {attempt.variable('ENDPOINT')}={attempt.url(scheme='https')}{authority}.",
    )


def _speaks_no_tls(attempt: Attempt, seen: Look) -> Finding:
    endpoint = attempt.variable("ENDPOINT")
    given = attempt.environment.get(endpoint, "")
    if "://" not in given:
        why = f"{endpoint} has no scheme, which over gRPC means TLS"
    elif given.lower().startswith("http://"):
        why = f"{attempt.variable('INSECURE')} says so"
    else:
        why = f"{endpoint} says https"
    protocol, and_protocol = attempt.otlp.protocol, ""
    if seen.speaks != _SPOKEN[protocol]:
        protocol = _OTHER[protocol]
        and_protocol = f" and {attempt.variable('PROTOCOL')}={protocol}"
    return Finding(
        f"{attempt.place} speaks no TLS, but was spoken to with it: {why}.",
        f"Set {endpoint}={attempt.url(scheme='http', protocol=protocol)}{and_protocol}.",
    )


def _certificate(attempt: Attempt, seen: Look) -> Finding:
    authority = attempt.variable("CERTIFICATE")
    host, endpoint = attempt.otlp.host, attempt.variable("ENDPOINT")
    match seen.certificate:
        case "expired":
            what, mend = "has expired", "Renew it. Or does this machine's clock run ahead?"
        case "not yet valid":
            what, mend = "is not valid yet", "Does this machine's clock lag behind? Set it."
        case "host name":
            what = f"was not issued for {host}"
            mend = f"Set {endpoint} to a name that it was issued for, or have it issued for {host}."
        case "unreadable":
            what = f"can't be checked: {authority} names a file that can't be read"
            mend = f"Correct {authority}."
        case _:
            what = "was issued by nobody who is trusted here"
            mend = f"Set {authority} to a file with the authority that issued it, in PEM format."
    return Finding(f"The certificate of {attempt.place} {what}.", mend)


def _says_nothing(attempt: Attempt, seen: Look) -> Finding:
    endpoint = attempt.variable("ENDPOINT")
    if seen.tls:
        return Finding(
            f"{attempt.place} speaks TLS, and then ends the connection.",
            f"It may want a client certificate: set {PREFIX}CERTIFICATE, {PREFIX}CLIENT_CERTIFICATE and "
            f"{PREFIX}CLIENT_KEY. Otherwise correct {endpoint}.",
        )
    return Finding(
        f"{attempt.place} takes the connection, and then says nothing.",
        f"Is it an OTLP receiver, and does it run? Look at its log, and correct {endpoint} if it is not.",
    )


def _speaks_the_other(attempt: Attempt) -> Finding:
    protocol = attempt.otlp.protocol
    other = _OTHER[protocol]
    endpoint, and_endpoint = attempt.variable("ENDPOINT"), ""
    if other != "grpc" and endpoint != f"{PREFIX}ENDPOINT":
        and_endpoint = f" and {endpoint}={attempt.url(protocol=other)}"
    moved = attempt.url(port=_STANDARD_PORTS[protocol])
    return Finding(
        f"{attempt.place} speaks {other}, but was sent {protocol} (4317 is the port for grpc, 4318 the "
        "one for http/protobuf).",
        f"Set {attempt.variable('PROTOCOL')}={other}{and_endpoint}, or {endpoint}={moved}.",
    )

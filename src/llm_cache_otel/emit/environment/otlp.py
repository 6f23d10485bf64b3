"""What is wrong with those of the OTLP exporters' variables that hold more than one plain value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from llm_cache_otel.emit.environment.rules import EMPTY, Problem, masked, quoted

OTLP = "OTEL_EXPORTER_OTLP_"

Levels = Mapping[str, set[str]]
"""Which protocols read a signal's variables (`TRACES_`, `METRICS_`), and those of all signals (``)."""

_GRPC_TARGETS = {"unix", "unix-abstract", "dns", "ipv4", "ipv6", "xds"}
_PAIR = re.compile(r"\s*[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~\t]*")
_SENDABLE = {
    "grpc": re.compile(r"(?!.*-bin=)[0-9a-z_.-]+=[ -~]*"),
    "http": re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+=[ -~\xa0-\xff]*"),
}


def endpoints(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for signal, protocols in levels.items():
        value = environment.get(f"{OTLP}{signal}ENDPOINT")
        variable = f"{OTLP}{signal}ENDPOINT"
        if value and protocols:
            insecure = (environment.get(f"{OTLP}{level}INSECURE") for level in {"", signal})
            wrong = _wrong_with(value, protocols, tls_is_chosen=any(insecure))
            if wrong:
                yield Problem(variable, f"{variable} is {quoted(value)}, {wrong}")
        elif value == "" and signal == "" and "grpc" in protocols:
            yield Problem(
                variable, f"{variable} is {EMPTY}. Using http://localhost:4317 over gRPC."
            )


def _wrong_with(value: str, protocols: set[str], *, tls_is_chosen: bool) -> str:
    """An endpoint is used as it is, whatever is wrong with it."""
    over_grpc = "grpc" in protocols
    example = f"it must be a URL like http://localhost:{4317 if over_grpc else 4318}"
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        return f"which is not a URL; {example}. Nothing can be sent there."
    has_scheme = "://" in value
    is_target = url.scheme in _GRPC_TARGETS or (not has_scheme and tls_is_chosen)
    if protocols == {"grpc"} and is_target:
        return ""
    if protocols == {"grpc"} and not has_scheme:
        return (
            f"without a scheme, which over gRPC means TLS; it must be http://{masked(value)} for a "
            f"Collector without TLS, https://{masked(value)} for one with it. Using TLS."
        )
    wrong = {
        f"without http:// or https://; {example}. Nothing can be sent there.": not has_scheme,
        f"which is not http:// or https:// and a host; {example}. Nothing can be sent there.": (
            url.scheme not in {"http", "https"} or not url.hostname
        ),
        f"with blanks or quotes in it; {example}. Using it as it is.": re.search(r"[\s\"']", value),
        f"with a user, which gRPC takes for the host; {example}. Nothing can be sent there.": (
            over_grpc and url.username is not None
        ),
        f"without a port, for which gRPC takes 443; {example}. Using port 443.": (
            over_grpc and url.scheme == "http" and port is None
        ),
    }
    return next((text for text, holds in wrong.items() if holds), "")


def insecure(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    spoken_to = {}
    for signal in ("TRACES_", "METRICS_"):
        given = (environment.get(f"{OTLP}{level}ENDPOINT") for level in (signal, ""))
        endpoint = next(filter(None, given), "http://localhost:4317")
        own = f"{OTLP}{signal}INSECURE"
        variable = own if own in environment else f"{OTLP}INSECURE"
        false = environment.get(variable, "").lower() == "false"
        if "grpc" in levels[signal] and false and endpoint.lower().startswith("http://"):
            spoken_to[variable] = endpoint
    for variable, endpoint in spoken_to.items():
        yield Problem(
            variable,
            f"{variable} is 'false', and over gRPC that would mean TLS even for {quoted(endpoint)}; "
            "leave it to the endpoint's scheme. Using no TLS.",
        )


def headers(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for signal, protocols in levels.items():
        variable = f"{OTLP}{signal}HEADERS"
        value = environment.get(variable, "") if protocols else ""
        pairs = [pair for pair in re.split(r"[ \t]*,[ \t]*", value) if pair]
        for number, pair in enumerate(pairs, 1):
            where = f"at header {number} of {len(pairs)}"
            name, _, content = (unquote(part).strip() for part in pair.partition("="))
            sent = f"{name.lower()}={content}"
            if not _PAIR.fullmatch(pair):
                yield Problem(
                    variable,
                    f"{variable} can't be read {where}; it must be name=value,name=value, with a comma, "
                    "semicolon or quote in a value as %2C, %3B or %22. That header is left out.",
                )
            elif not all(_SENDABLE[protocol].fullmatch(sent) for protocol in protocols):
                yield Problem(
                    variable,
                    f"{variable} can't be sent as it is {where}; it must be letters, digits and other "
                    "plain ASCII. Nothing can be sent with it.",
                )


def files(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for signal, protocols in levels.items():
        for kind, instead in (
            ("CERTIFICATE", "the usual certificate authorities"),
            ("CLIENT_CERTIFICATE", "no client certificate"),
            ("CLIENT_KEY", "no client certificate"),
        ):
            variable = f"{OTLP}{signal}{kind}"
            path = environment.get(variable)
            wrong = _wrong_with_file(Path(path)) if path and protocols else ""
            if wrong:
                can_be = f"it must be a file in PEM format. Using {instead}."
                text = f"{variable} is {quoted(str(path))}, {wrong}; {can_be}"
                yield Problem(variable, text)


def _wrong_with_file(path: Path) -> str:
    try:
        if not path.is_file():
            return "which is not a file" if path.exists() else "which does not exist"
        return "" if b"-----BEGIN " in path.read_bytes() else "which holds no PEM"
    except (OSError, ValueError) as error:
        return f"which can't be read ({type(error).__name__})"


def client_certificates(environment: Mapping[str, str], levels: Levels) -> Iterator[Problem]:
    for signal, protocols in levels.items():
        kinds = "CLIENT_CERTIFICATE", "CLIENT_KEY"
        given = [kind for kind in kinds if environment.get(f"{OTLP}{signal}{kind}")]
        if not given or not protocols:
            continue
        variable, authority = f"{OTLP}{signal}{given[0]}", f"{OTLP}{signal}CERTIFICATE"
        if "grpc" in protocols and not environment.get(authority):
            yield Problem(
                variable,
                f"{variable} is not read over gRPC without {authority}. Using no client certificate.",
            )
        elif len(given) == 1:
            (other,) = set(kinds) - set(given)
            if "grpc" in protocols or not _does_alone(given[0], other, environment, levels):
                yield Problem(
                    variable,
                    f"{variable} needs {OTLP}{signal}{other} as well; over gRPC the lack of it would end "
                    "the process. Using no client certificate.",
                )


def _does_alone(kind: str, other: str, environment: Mapping[str, str], levels: Levels) -> bool:
    """Over HTTP the other file may be any level's, and a certificate's file may hold the key too."""
    if any(environment.get(f"{OTLP}{level}{other}") for level in levels):
        return True
    paths = (environment.get(f"{OTLP}{level}{kind}") for level in levels)
    return kind == "CLIENT_CERTIFICATE" and any(
        b"PRIVATE KEY-----" in Path(path).read_bytes()
        for path in paths
        if path and not _wrong_with_file(Path(path))
    )

"""Which proxy applies: gRPC and requests each read variables of their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from llm_cache_otel.cli.doctor.otlp import Otlp

_GRPC = "grpc_proxy", "https_proxy", "http_proxy"
_NOT_BY_GRPC = "no_grpc_proxy", "no_proxy"


@dataclass(frozen=True)
class Proxy:
    url: str
    variable: str
    exempts: str
    """The variable that exempts hosts from it."""


def proxy_for(otlp: Otlp, environment: Mapping[str, str]) -> Proxy | None:
    return _for_grpc(otlp, environment) if otlp.protocol == "grpc" else _for_http(otlp, environment)


def _for_grpc(otlp: Otlp, environment: Mapping[str, str]) -> Proxy | None:
    variable = next((name for name in _GRPC if environment.get(name)), None)
    if variable is None or not environment[variable].startswith("http://") or not otlp.host:
        return None  # other schemes gRPC ignores
    exempts = next((name for name in _NOT_BY_GRPC if environment.get(name)), "no_proxy")
    entries = [entry.strip() for entry in environment.get(exempts, "").split(",") if entry.strip()]
    if any(otlp.host.endswith(entry) or _is_within(otlp.host, entry) for entry in entries):
        return None
    return Proxy(environment[variable], variable, exempts)


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _for_http(otlp: Otlp, environment: Mapping[str, str]) -> Proxy | None:
    from requests.utils import get_environ_proxies, select_proxy

    url = select_proxy(otlp.url, get_environ_proxies(otlp.url, no_proxy=None))
    if not url:
        return None
    scheme = otlp.url.partition(":")[0]
    names = f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"
    variable = next((name for name in names if environment.get(name)), "the system's settings")
    return Proxy(url, variable, "no_proxy" if environment.get("no_proxy") else "NO_PROXY")

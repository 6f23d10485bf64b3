"""The exporters that the standard `OTEL_*` variables ask for, by the exporters' own reading of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any, Literal

from llm_cache_otel.emit.log import logger

Signal = Literal["traces", "metrics"]

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def exporters(signal: Signal) -> Iterator[Any]:
    """New exporters for a signal; for metrics, readers of metrics where they are pulled.

    By default one over OTLP with gRPC, as the OTLP specification leaves to an SDK.
    """
    for name in os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").split(","):
        chosen = name.strip().lower()
        if chosen in ("", "none"):
            continue
        if chosen == "otlp":
            chosen = _otlp_exporter(signal)
        found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=chosen))
        if found:
            yield found[0].load()()
        else:
            logger.warning(
                "OTEL_%s_EXPORTER names the exporter %r, which is not installed; it is left out.",
                signal.upper(),
                chosen,
            )


def _otlp_exporter(signal: Signal) -> str:
    for variable in (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ):
        protocol = os.environ.get(variable, "").strip()
        if protocol in _PROTOCOLS:
            return _PROTOCOLS[protocol]
        if protocol:
            logger.warning(
                "%s is %r; it can be grpc or http/protobuf. Using grpc.", variable, protocol
            )
            break
    return _PROTOCOLS["grpc"]

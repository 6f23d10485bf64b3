"""The exporters that the standard `OTEL_*` variables ask for, by the exporters' own reading of them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.emit.pipeline.fallbacks import Signal, otlp_arguments

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def exporters(signal: Signal, bad: AbstractSet[str] = frozenset()) -> Iterator[Any]:
    """New exporters for a signal; for metrics, readers of metrics where they are pulled.

    By default one over OTLP with gRPC, as the OTLP specification leaves to an SDK. `bad` are the names
    of variables whose values are no good.
    """
    for name in _names(signal):
        kind = _exporter(signal, name)
        if kind is not None:
            if name == "otlp_proto_grpc":
                _require_for_grpc()
            yield kind(**otlp_arguments(name, signal, bad))


class DisturbedFork(RuntimeError):
    """Of a fork that gRPC does not survive; says so in words that may be logged."""


_DESCRIPTORS = 16


def _require_for_grpc() -> None:
    """What gRPC aborts the process, or hangs, for the lack of.

    Raises:
        DisturbedFork: it was in use when this process was forked.
        OSError: there are too few file descriptors left.
    """
    if forks.was_disturbed:
        raise DisturbedFork(
            "this process was forked while its parent waited for a Collector's answer, which gRPC does not "
            "survive; over http/protobuf there is no such trouble"
        )
    with contextlib.ExitStack() as opened:
        for _ in range(_DESCRIPTORS):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))


def import_exporters(signal: Signal) -> None:
    """Import what `exporters` would make."""
    for name in _names(signal):
        _exporter(signal, name)


def _names(signal: Signal) -> list[str]:
    chosen = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    names = [name.strip().lower() for name in chosen.split(",")]
    return [
        _otlp_exporter(signal) if name == "otlp" else name
        for name in names
        if name not in ("", "none")
    ]


@functools.cache  # to look for entry points takes tens of milliseconds
def _exporter(signal: Signal, name: str) -> Any | None:
    from importlib.metadata import entry_points  # dear, and mostly nobody asks

    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    return found[0].load() if found else None


def _otlp_exporter(signal: Signal) -> str:
    """By the signal's own protocol, else the common one, else gRPC."""
    for variable in (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ):
        protocol = os.environ.get(variable, "").strip()
        if protocol:
            return _PROTOCOLS.get(protocol, _PROTOCOLS["grpc"])
    return _PROTOCOLS["grpc"]

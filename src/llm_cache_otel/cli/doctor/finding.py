"""What was found, and what it was found of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm_cache_otel.cli.doctor.answer import Answer
from llm_cache_otel.cli.doctor.otlp import Otlp
from llm_cache_otel.emit.pipeline.fallbacks import Signal

PREFIX = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True)
class Finding:
    """What is wrong, or worth knowing, and what to do next."""

    what: str
    next: str
    serious: bool = True
    """Whether it keeps something from arriving."""

    variable: str = ""
    """What it is about; it need not be said if something serious is said about that."""


@dataclass(frozen=True)
class Attempt:
    """A test span or metric that was sent, how, and what came of it."""

    signal: Signal
    otlp: Otlp
    answer: Answer
    environment: Mapping[str, str]

    def variable(self, name: str) -> str:
        """The one of `OTEL_EXPORTER_OTLP_…` that decides: the signal's own where it is set."""
        own = f"{PREFIX}{self.signal.upper()}_{name}"
        return own if self.environment.get(own) else f"{PREFIX}{name}"

    @property
    def place(self) -> str:
        return f"{self.otlp.host}:{self.otlp.port}"

    @property
    def is_local(self) -> bool:
        return self.otlp.host in {"localhost", "::1"} or self.otlp.host.startswith("127.")

    def url(self, *, scheme: str = "", port: int = 0, protocol: str = "") -> str:
        """The value for the deciding variable with which it would be sent like this instead."""
        split = urlsplit(self.otlp.url)
        host = f"[{self.otlp.host}]" if ":" in self.otlp.host else self.otlp.host
        path = ""
        if (protocol or self.otlp.protocol) != "grpc":
            base = split.path.removesuffix(self.path).rstrip("/")
            path = base if self.variable("ENDPOINT") == f"{PREFIX}ENDPOINT" else base + self.path
        return f"{scheme or split.scheme}://{host}:{port or self.otlp.port}{path}"

    @property
    def path(self) -> str:
        return f"/v1/{self.signal}"

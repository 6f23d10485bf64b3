"""Programs' telemetry to Collector, Jaeger and Prometheus, as `collector-config/` has it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from e2e.stack.backends import Jaeger, Prometheus
from e2e.stack.collector import Collector

QUICK = {"scrape_interval: 15s": "scrape_interval: 1s"}
"""What tests do not wait for."""


class Stack:
    """`with Stack(directory) as stack:`, with more `files` of the Collector, or variables for it."""

    def __init__(
        self,
        directory: Path,
        *files: str,
        paces: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> None:
        self.jaeger = Jaeger(directory / "jaeger")
        self.collector = Collector(
            directory / "collector",
            *("otel-collector.yaml", *files),
            JAEGER_ENDPOINT=self.jaeger.otlp,
            **variables,
        )
        self.prometheus = Prometheus(
            directory / "prometheus", self.collector.moved, paces=QUICK if paces is None else paces
        )
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            for server in (self.jaeger, self.collector, self.prometheus):
                started.enter_context(server)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

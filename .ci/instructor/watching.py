"""A pytest plugin for Instructor's own tests: writes what became of each, and of us while they ran.

Loaded into the run without us as well, so that the two differ in nothing but being watched. What it does
is in the environment: `REPORT` is the file to write, `WATCHED` how we are active ("no", "instrumentor" or
"opentelemetry-instrument"), and `PROVIDER`, if it is there, the address of what stands in for OpenAI.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import warnings
from collections import Counter
from functools import partialmethod
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

HOW = os.environ["WATCHED"]
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}|127\.0\.0\.1:\d+")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def pytest_configure(config: pytest.Config) -> None:
    _stay_at_home()
    if "PROVIDER" in os.environ:
        config.pluginmanager.register(StandIn(os.environ["PROVIDER"]))
    config.pluginmanager.register(Report(None if HOW == "no" else Watch()))


def _stay_at_home() -> None:
    """Refuse at once whatever would leave this machine."""
    look_up, connect, connect_ex = (
        socket.getaddrinfo,
        socket.socket.connect,
        socket.socket.connect_ex,
    )

    def refuse(host: Any) -> None:
        if isinstance(host, bytes):
            host = host.decode()
        if host is not None and host not in _LOOPBACK:
            raise ConnectionRefusedError(f"no test may reach {host}")

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            ip_address(host)  # needs no looking up, and is refused when it is connected to
        except ValueError:
            refuse(host)
        return look_up(host, *args, **kwargs)

    def guarded(connect: Any) -> Any:
        def to(self: socket.socket, address: Any) -> Any:
            if isinstance(address, tuple):
                refuse(address[0])
            return connect(self, address)

        return to

    socket.getaddrinfo = getaddrinfo
    socket.socket.connect = guarded(connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(connect_ex)  # type: ignore[method-assign]


class StandIn:
    """OpenAI clients that need no key: by default theirs is the provider that stands in for OpenAI.

    Has the fixtures of the directory's own conftest, which skips it all where there is no key.
    """

    def __init__(self, url: str) -> None:
        import openai

        defaults = {"api_key": "none", "base_url": url}
        for kind in (openai.OpenAI, openai.AsyncOpenAI):
            kind.__init__ = partialmethod(kind.__init__, **defaults)  # type: ignore[assignment]

    @pytest.fixture
    def client(self) -> Any:
        import openai

        return openai.OpenAI()

    @pytest.fixture
    def aclient(self) -> Any:
        import openai

        return openai.AsyncOpenAI()


class Watch(logging.Handler):
    """We are active, and all that we say is kept in memory."""

    def __init__(self) -> None:
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from llm_cache_otel.instrumentor import LLMCacheInstrumentor

        super().__init__(logging.WARNING)
        self.logged: list[str] = []
        logging.getLogger("llm_cache_otel").addHandler(self)
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        instrumentor = LLMCacheInstrumentor()
        tracer_provider: Any
        meter_provider: Any
        if HOW == "opentelemetry-instrument":
            assert instrumentor.is_instrumented_by_opentelemetry, "the entry point was not found"
            tracer_provider, meter_provider = (
                trace.get_tracer_provider(),
                metrics.get_meter_provider(),
            )
            meter_provider.add_metric_reader(self.reader)
        else:
            tracer_provider, meter_provider = TracerProvider(), MeterProvider([self.reader])
        tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        if HOW == "instrumentor":
            instrumentor.instrument(tracer_provider=tracer_provider, meter_provider=meter_provider)

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(record.getMessage())

    def left_attached(self) -> bool:
        from opentelemetry import trace

        return trace.get_current_span().get_span_context().is_valid

    def said(self) -> dict[str, Any]:
        from llm_cache_otel import flush

        flush(30)
        return {
            "spans": Counter(span.name for span in self.exporter.get_finished_spans()),
            "requests": self._sums("llm_cache.requests", "llm_cache.outcome"),
            "errors": self._sums(
                "llm_cache.instrumentation.errors", "llm_cache.instrumentation.where"
            ),
            "logged": self.logged,
        }

    def _sums(self, metric_name: str, attribute: str) -> Counter[str]:
        sums: Counter[str] = Counter()
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == metric_name:
                        for point in metric.data.data_points:
                            sums[str(point.attributes.get(attribute))] += point.value
        return sums


class Report:
    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self._outcomes: dict[str, dict[str, str]] = {}
        self._warnings: Counter[str] = Counter()
        self._faults: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
        report = yield
        outcome = f"x{report.outcome}" if hasattr(report, "wasxfail") else report.outcome
        if call.excinfo is not None:
            first_line = (str(call.excinfo.value).splitlines() or [""])[0]
            outcome += f": {call.excinfo.type.__qualname__}: {_ADDRESS.sub('…', first_line)}"
        self._outcomes.setdefault(item.nodeid, {})[call.when] = outcome
        if self._watch is not None and call.when == "teardown" and self._watch.left_attached():
            self._faults.append(f"{item.nodeid}: a context was left attached")
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self._outcomes[f"{report.nodeid} (collecting)"] = {"collect": report.outcome}

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, nodeid: str, location: Any
    ) -> None:
        where = Path(warning_message.filename).name
        self._warnings[f"{nodeid}: {warning_message.category.__name__} in {where}"] += 1
        if "llm_cache_otel" in f"{warning_message.filename} {warning_message.message}":
            self._faults.append(f"{nodeid}: {warning_message.message}")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        import instructor

        report = {
            "instructor": str(Path(instructor.__file__).parent),
            "exit status": int(exitstatus),
            "outcomes": self._outcomes,
            "warnings": self._warnings,
            "faults": self._faults,
            "said": self._watch.said() if self._watch is not None else None,
        }
        Path(os.environ["REPORT"]).write_text(json.dumps(report, indent=1))

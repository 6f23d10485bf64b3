"""What happens to a program in some order, played out: one process for each order.

An order is a string of `EVENTS`. Its calls are labelled by process and event, `parent T` for instance,
and the label is the model that they ask for. Each process reports a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_cache_otel.later import later
from support.caller import Caller, request_for
from support.forking import fork, join

EVENTS = {
    "I": "instrument",
    "C": "first call",
    "T": "the application sets its tracer provider",
    "M": "the application sets its meter provider",
    "F": "fork",
}
AT_ONCE = 3


class Application:
    """One that uses OpenTelemetry, sooner or later. `traced` and `counted` have labels of calls."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.providers: dict[str, Any] = {"T": None, "M": None}

    def set(self, which: str) -> None:
        if which == "T":
            provider = self.providers["T"] = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(self.exporter))
            trace.set_tracer_provider(provider)
        else:
            self.providers["M"] = MeterProvider([self.reader])
            metrics.set_meter_provider(self.providers["M"])

    def report(self) -> dict[str, Any]:
        later.wait(10)
        globals_now = trace._TRACER_PROVIDER, metrics._internal._METER_PROVIDER
        return {
            "globals are the application's": globals_now == (*self.providers.values(),),
            "traced": sorted(
                span.attributes["gen_ai.request.model"]
                for span in self.exporter.get_finished_spans()
                if span.name == "create User"
            ),
            "counted": {
                point.attributes["gen_ai.request.model"]: point.value
                for point in points_of(self.reader, "llm_cache.requests")
            },
        }


def points_of(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    resources = [] if data is None else data.resource_metrics
    found = [scope.metrics for resource in resources for scope in resource.scope_metrics]
    return [
        point
        for metrics_of_scope in found
        for metric in metrics_of_scope
        if metric.name == name
        for point in metric.data.data_points
    ]


def play(order: str) -> None:
    os.environ["OTEL_SERVICE_NAME"] = order
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logging.getLogger().addHandler(QueueHandler(records))
    application, caller = Application(), None
    process, child, calling = "parent", 0, False
    for event in order:
        if event == "I":
            caller = Caller(alone=True)
        elif event == "F":
            later.wait(10)  # what a child has of its parent's is then the same each time
            child = os.fork()
            process = "parent" if child else "child"
        elif event != "C":
            application.set(event)
        calling = calling or event == "C"
        if calling:
            assert caller is not None
            caller.client.create(**request_for(event), model=f"{process} {event}")
    later.wait(10)
    said = [records.get().getMessage() for _ in range(records.qsize())]
    report = {"order": order, "process": process, "said": said, **application.report()}
    os.write(1, f"{json.dumps(report)}\n".encode())  # whole, whoever else writes
    if child:
        join(child)


def play_all(orders: list[str]) -> None:
    alive: list[int] = []
    for order in orders:
        if len(alive) == AT_ONCE:
            join(alive.pop(0))
        alive.append(fork(play, order))
    join(*alive)

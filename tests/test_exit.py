"""When a process ends: in what order, and what is told of what has not ended before."""

from __future__ import annotations

import pytest
from support.books import outcomes
from support.programs import PROTOCOLS, environment, run
from support.versions import lazy_iterables

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

FINALIZED = """
import threading, weakref
from support.caller import Caller

class Mine:
    pass

def exports():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]

caller, mine = Caller(), Mine()
caller("first")
assert exports(), threading.enumerate()
weakref.finalize(mine, lambda: print("finalized", exports()))
"""

HOLDING = """
from support.caller import Caller, request_for

caller = Caller()
caller("first")
held = [caller.client.create_iterable(**request_for(which)) for which in ("begun", "not begun")]
next(held[0])
"""

FORKING = """
from support.forking import fork, join

join(fork(caller, "first"))
"""

FAILING = """
from llm_cache_otel.later import later

later._first_at_exit.insert(0, lambda: 1 / 0)
"""

OWN_PROVIDERS = """
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_exported_any_more_when_python_comes_to_its_finalizers(
    protocol: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    """A thread that makes one while Python chooses which to call costs the program all of them.

    urllib3's pools of connections have one (`weakref.finalize._select_for_exit` says what then is raised).
    """
    out, errors = run(FINALIZED, environment(provider, receiver, protocol))
    assert out.splitlines() == ["finalized []"]
    assert errors == ""
    assert outcomes(receiver) == {"miss": 1}


@lazy_iterables
def test_a_childs_parent_tells_of_the_streams_that_both_hold(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    _, errors = run(HOLDING + FORKING, environment(provider, receiver))
    assert "Traceback" not in errors
    assert outcomes(receiver) == {"miss": 1, "bypass": 2, "hit": 1}


@lazy_iterables
@pytest.mark.parametrize(
    "before",
    ["", OWN_PROVIDERS, FAILING],
    ids=["ours", "the application's", "where ours fails before"],
)
def test_streams_that_are_held_to_the_end_are_told_of(
    before: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    _, errors = run(before + HOLDING, environment(provider, receiver))
    assert "Traceback" not in errors
    assert outcomes(receiver) == {"miss": 1, "bypass": 2}
    creates = [span for span in receiver.spans if span.name.startswith("create")]
    assert sorted(span.name for span in creates) == ["create Iterable[User]"] * 2 + ["create User"]

"""An application that sets up OpenTelemetry after its first calls, oddly, or with something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.books import REQUESTS
from support.programs import environment
from support.stage import Stage

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

MODEL = "gen_ai.request.model"

APPLICATION = """
import asyncio, json, threading, time
from opentelemetry import metrics, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NoOpTracerProvider
from llm_cache_otel import instrument
from support.caller import AsyncCaller, Caller, bare_client, request_for
from support.orders import Application

application = Application()
def done():
    print(json.dumps(application.report()))
"""


Play = Callable[..., dict[str, Any]]


@pytest.fixture
def play(provider: SimulatedProvider, receiver: OtlpReceiver, stage: Stage, tmp_path: Path) -> Play:
    """Has the stage play a program, and gives its report; what it sent is in `receiver`."""

    def play(program: str, **variables: str) -> dict[str, Any]:
        patient = {"LLM_CACHE_OTEL_EXIT_TIMEOUT": 30}
        known = environment(provider, receiver, **patient, **variables)
        out, errors = stage.run(APPLICATION + program, known, tmp_path)
        assert "Overriding" not in errors
        report: dict[str, Any] = json.loads(out)
        return report

    return play


def sent(receiver: OtlpReceiver) -> dict[str, list[str]]:
    """Labels of the calls that were sent privately."""
    points = receiver.metrics().matching(REQUESTS)
    return {
        "traced": sorted(
            span.attributes[MODEL] for span in receiver.spans if span.name == "create User"
        ),
        "counted": sorted(point.attributes[MODEL] for point in points),
    }


CALL = """
client = Caller(alone=True).client
def call(label):
    client.create(**request_for(label), model=label)
"""


@pytest.mark.parametrize("set_up", ["before", "after"])
def test_the_applications_no_op_providers_are_its_choice(
    set_up: str, play: Play, receiver: OtlpReceiver
) -> None:
    silence = """
trace.set_tracer_provider(NoOpTracerProvider())
metrics.set_meter_provider(NoOpMeterProvider())
"""
    if set_up == "before":
        play(f"{silence}{CALL}call('unheard')\ndone()")
        assert sent(receiver) == {"traced": [], "counted": []}
    else:
        program = f"{CALL}call('heard')\n{silence}call('unheard')\ndone()"
        play(program)
        assert sent(receiver) == {"traced": ["heard"], "counted": ["heard"]}


def test_no_global_comes_of_a_variable_until_the_application_asks(
    play: Play, receiver: OtlpReceiver
) -> None:
    program = f"""{CALL}
call("first")
assert trace._TRACER_PROVIDER is None
assert metrics._internal._METER_PROVIDER is None
# The SDK's tracer provider asks for the meter provider in its turn, which nothing reads here.
tracers = trace.get_tracer_provider()
tracers.add_span_processor(SimpleSpanProcessor(application.exporter))
call("second")
done()
"""
    variables = {
        "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",
        "OTEL_PYTHON_METER_PROVIDER": "sdk_meter_provider",
    }
    report = play(program, **variables)
    assert report["traced"] == ["second"]
    assert sent(receiver) == {"traced": ["first"], "counted": ["first"]}


def test_the_apis_stand_in_means_the_applications_provider(
    play: Play, receiver: OtlpReceiver
) -> None:
    program = """
client = instrument(
    bare_client(alone=True),
    tracer_provider=trace.get_tracer_provider(),
    meter_provider=metrics.get_meter_provider(),
)
for label in "first", "T", "M":
    if label in "TM":
        application.set(label)
    client.create(**request_for(label), model=label)
done()
"""
    report = play(program)
    assert report["traced"] == ["M", "T"]
    assert report["counted"] == {"M": 1}
    assert sent(receiver) == {"traced": ["first"], "counted": ["T", "first"]}


def test_a_provider_that_is_passed_in_stays_whatever_the_application_sets(
    play: Play, receiver: OtlpReceiver
) -> None:
    program = """
passed = Application()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(passed.exporter))
client = instrument(bare_client(alone=True), tracer_provider=tracers)
client.create(**request_for(1), model="first")
application.set("T")
application.set("M")
client.create(**request_for(2), model="second")
assert passed.report()["traced"] == ["first", "second"]
done()
"""
    report = play(program)
    assert report["traced"] == []
    assert report["counted"] == {"second": 1}
    assert sent(receiver) == {"traced": [], "counted": ["first"]}


def test_threads_that_call_while_the_application_sets_up(
    play: Play, receiver: OtlpReceiver
) -> None:
    """Each call is in one of the two places, and those that begin later in the new one."""
    program = f"""{CALL}
is_set, calls = threading.Event(), 25
def work(thread):
    for number in range(calls):
        call(f"{{thread}} early {{number}}")
    is_set.wait()
    call(f"{{thread}} late")
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
for thread in threads:
    thread.start()
time.sleep(0.02)
application.set("M")
application.set("T")
is_set.set()
for thread in threads:
    thread.join()
done()
"""
    report = play(program)
    labels = [f"{thread} early {number}" for thread in range(3) for number in range(25)]
    labels += [late := f"{thread} late" for thread in range(3)]
    private = sent(receiver)
    assert sorted(report["traced"] + private["traced"]) == sorted(labels)
    assert sorted([*report["counted"], *private["counted"]]) == sorted(labels)
    assert set(report["counted"].values()) == {1}
    assert {label for label in labels if label.endswith("late")} <= set(report["traced"])
    assert late in report["counted"]


def test_a_call_in_flight_ends_where_it_began(
    provider: SimulatedProvider, play: Play, receiver: OtlpReceiver
) -> None:
    program = """
client = AsyncCaller().client
async def call(label):
    await client.create(**request_for(label), model=label)
async def main():
    await call("before")
    in_flight = asyncio.create_task(call("in flight"))
    await asyncio.sleep(0.2)
    application.set("T")
    application.set("M")
    await asyncio.gather(call("after"), call("after as well"))
    assert not in_flight.done()
    await in_flight
    await call("last")
asyncio.run(main())
done()
"""
    provider.cues.add(Cue(), Cue(delay=2))
    report = play(program)
    after = ["after", "after as well", "last"]
    assert report["traced"] == after
    assert report["counted"] == dict.fromkeys(after, 1)
    assert sent(receiver) == dict.fromkeys(("traced", "counted"), ["before", "in flight"])
    # All of it, and not its outermost span alone.
    spans = [span for span in receiver.spans if span.trace_id == receiver.spans[-1].trace_id]
    assert len(spans) == 4


@pytest.mark.parametrize("set_up", ["before", "after"])
def test_logfire(set_up: str, play: Play, receiver: OtlpReceiver) -> None:
    configure = """
import logfire, os
endpoint = os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT")  # or Logfire would send there as well
logfire.configure(
    send_to_logfire=False,
    console=False,
    additional_span_processors=[SimpleSpanProcessor(application.exporter)],
    metrics=logfire.MetricsOptions(additional_readers=[application.reader]),
)
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
"""
    if set_up == "before":
        program = f"{configure}{CALL}call('ours')\ndone()"
    else:
        program = f"{CALL}call('earlier')\n{configure}call('ours')\ndone()"
    report = play(program)
    earlier = ["earlier"] if set_up == "after" else []
    assert report["traced"] == ["ours"]
    assert report["counted"] == {"ours": 1}
    assert sent(receiver) == {"traced": earlier, "counted": earlier}

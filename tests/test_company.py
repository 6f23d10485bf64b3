"""Beside other instrumentations: the program works, traces nest, and an inference is told once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from support.clients import make, request_for
from support.company import (
    DURATION,
    NEIGHBOURS,
    OPENAI,
    OURS,
    PATCHED,
    Company,
    Kind,
    Neighbour,
    Told,
    ancestors,
    is_inference,
)
from support.models import DictCache
from support.programs import environment
from support.recording import Recording
from support.stage import Stage

from llm_cache_otel import Settings, instrument
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

ORDERS = ("NCO", "CNO", "CON", "NCOn", "CONn")
CASES = [
    pytest.param(name, kind, order, id=f"{name}, {kind.maker} {kind.mode or ''}, {order}")
    for name, neighbour in NEIGHBOURS.items()
    for kind in neighbour.kinds
    for order in ORDERS
    if not neighbour.on_client or order.index("C") < order.index("N")
]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the neighbours' own

Played = dict[str, Told]
Play = Callable[..., Played]

UNCHANGED = ("OpenInference Instructor", "OpenInference OpenAI", "OpenLLMetry OpenAI")
CASES_UNCHANGED = [
    pytest.param(name, kind, order, id=f"{name}, {kind.maker} {kind.mode or ''}, {order}")
    for name in UNCHANGED
    for kind in NEIGHBOURS[name].kinds
    for order in ("NOC", "ONC", "OCN", "NOCn", "ONCn", "OCNn", "NOnC", "ONnC")
    if (kind, order) != (PATCHED, "NOnC")  # it puts `instructor.patch` back as it found it
]
"""Of programs that were not changed for us."""


@pytest.fixture(scope="module")
def play(simulated_provider: SimulatedProvider) -> Play:
    """What is told by a neighbour and us, or by either alone."""

    @cache
    def play(
        name: str | None,
        kind: Kind,
        events: str,
        asynchronous: bool = False,
        every_client: bool = False,
    ) -> Played:
        neighbour = None if name is None else NEIGHBOURS[name]
        company = Company(neighbour, kind, simulated_provider, asynchronous, every_client)
        return asyncio.run(company.play(events))

    return play


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "kind", "order"), CASES)
def test_an_inference_is_told_once(
    name: str, kind: Kind, order: str, asynchronous: bool, play: Play
) -> None:
    both = play(name, kind, order, asynchronous)
    alone = play(name, kind, order.replace("O", ""), asynchronous)
    check(both, alone, play(None, kind, "CO", asynchronous), asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "kind", "order"), CASES_UNCHANGED)
def test_nor_twice_where_the_program_was_not_changed(
    name: str, kind: Kind, order: str, asynchronous: bool, play: Play
) -> None:
    both = play(name, kind, order, asynchronous, True)
    alone = play(name, kind, order.replace("O", ""), asynchronous)
    check(both, alone, play(None, kind, "OC", asynchronous, True), asynchronous)


def check(both: Played, alone: Played, ours: Played, asynchronous: bool) -> None:
    expected = alone if alone["miss"].inferences else ours
    for situation, told in both.items():
        assert told.result == alone[situation].result, situation
        assert told.asked == ours[situation].asked, situation
        assert told.inferences == expected[situation].inferences, situation
        assert told.tokens == expected[situation].tokens, situation
        durations = expected[situation].durations or ours[situation].durations
        assert told.durations == durations, situation
        assert sum(told.durations.values()) == told.asked, situation
        nest(told.spans)
        if told.raised and situation != "failure":
            # Instructor takes their streams for asynchronous ones, and gives them up.
            assert (situation, asynchronous) == ("stream", False)
        else:
            assert len(told.inferences) == told.asked, situation
            assert told.dollars == ours[situation].dollars, situation
    if not ours["hit"].asked:
        assert ours["hit"].dollars == {"llm_cache.saved.cost", "llm_cache.saved.tokens.input"}


def nest(spans: list[ReadableSpan]) -> None:
    """One trace, with our `create` at its root."""
    (root,) = [span for span in spans if span.parent is None]
    assert root.name.startswith("create")
    assert root.instrumentation_scope.name == OURS
    for span in spans:
        assert span is root or root in ancestors(span, spans)


@pytest.mark.parametrize("order", ["NCOo", "CONo"])
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, each in NEIGHBOURS.items() for kind in each.kinds]
)
def test_nothing_of_ours_is_left_when_we_leave(
    name: str, kind: Kind, order: str, play: Play
) -> None:
    if NEIGHBOURS[name].on_client and order == "NCOo":
        order = "CNOo"
    left = play(name, kind, order, False)
    alone = play(name, kind, order.replace("Oo", "").replace("O", "").replace("o", ""), False)
    for situation, told in left.items():
        assert told.result == alone[situation].result
        assert told.inferences == alone[situation].inferences
        assert told.durations == alone[situation].durations
        assert not [span for span in told.spans if span.instrumentation_scope.name == OURS]


SIGNALS = {
    "spans": ("tracer_provider",),
    "metrics": ("meter_provider",),
    "both": ("tracer_provider", "meter_provider"),
}


@pytest.mark.parametrize("signals", SIGNALS)
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, each in NEIGHBOURS.items() for kind in each.kinds]
)
def test_ours_does_not_step_back_for_what_goes_elsewhere(
    name: str, kind: Kind, signals: str, provider: SimulatedProvider, play: Play
) -> None:
    order = "CNO" if NEIGHBOURS[name].on_client else "NCO"
    alone = play(name, kind, order.replace("O", ""))
    elsewhere = Recording()
    own = {signal: elsewhere.providers[signal] for signal in SIGNALS[signals]}
    company = Company(NEIGHBOURS[name], kind, provider, elsewhere=own)
    both = asyncio.run(company.play(order))
    asked = sum(told.asked for told in both.values())
    inferences = [span for span in elsewhere.spans() if is_inference(span)]
    assert len(inferences) == (asked if "tracer_provider" in own else 0)
    durations = sum(elsewhere.sums(DURATION, "error.type").values())
    assert durations == (asked if "meter_provider" in own else 0)
    for situation, told in both.items():
        if "tracer_provider" in own:
            assert told.inferences == alone[situation].inferences
        if "meter_provider" in own:
            assert told.durations == alone[situation].durations


def test_two_neighbours_are_heard_both(provider: SimulatedProvider) -> None:
    """One tells spans and the other, which is further in, spans and metrics."""
    outer, inner = NEIGHBOURS["OpenInference OpenAI"], NEIGHBOURS["OpenLLMetry OpenAI"]

    def install(providers: dict[str, Any], client: Any) -> Callable[[], Any]:
        undo = [each.install(providers, client) for each in (outer, inner)]
        return lambda: [each() for each in undo]

    company = Company(Neighbour((OPENAI,), install), OPENAI, provider)
    both, alone = asyncio.run(company.play("NCO")), asyncio.run(company.play("NC"))
    for situation, told in both.items():
        assert told.inferences == alone[situation].inferences
        assert told.durations == alone[situation].durations


THEIRS = {  # of one miss: inference spans of theirs, and durations that they count
    None: (0, 0),
    "OpenInference OpenAI": (1, 0),
    "OpenLLMetry OpenAI": (1, 1),
}
OF_OURS = {
    "auto": lambda spans, durations: (1 - spans, 1 - durations),
    "always": lambda spans, durations: (1, 1),
    "never": lambda spans, durations: (0, 0),
}


@pytest.mark.parametrize("by", ["argument", "variable"])
@pytest.mark.parametrize("value", OF_OURS)
@pytest.mark.parametrize("name", THEIRS)
def test_the_setting(
    name: str | None,
    value: str,
    by: str,
    provider: SimulatedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = None
    if by == "argument":
        settings = Settings(inference_spans=value)
    else:
        monkeypatch.setenv("LLM_CACHE_OTEL_INFERENCE_SPANS", value)
    neighbour = None if name is None else NEIGHBOURS[name]
    company = Company(neighbour, OPENAI, provider, settings=settings)
    told = asyncio.run(company.play("CO" if name is None else "NCO"))["miss"]
    spans, durations = OF_OURS[value](*THEIRS[name])
    ours = [each for each in told.inferences if each.scope == OURS]
    assert len(ours) == spans
    assert len(told.inferences) == spans + THEIRS[name][0]
    assert sum(told.durations.values()) == durations + THEIRS[name][1]
    (create,) = [span for span in told.spans if span.name == "create User"]
    assert create.attributes["llm_cache.attempts"] == 1
    nest(told.spans)


def test_a_bad_setting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="inference_spans=.*'auto', 'always' or 'never'"):
        Settings(inference_spans="sometimes")
    monkeypatch.setenv("LLM_CACHE_OTEL_INFERENCE_SPANS", "sometimes")
    assert Settings().inference_spans == "auto"
    assert "LLM_CACHE_OTEL_INFERENCE_SPANS must be 'auto', 'always' or 'never'" in caplog.text


@pytest.mark.parametrize(
    "name", [name for name, each in NEIGHBOURS.items() if OPENAI in each.kinds]
)
def test_http_spans_fall_inside_the_inference(name: str, provider: SimulatedProvider) -> None:
    neighbour = NEIGHBOURS[name]

    def install(providers: dict[str, Any], client: Any) -> Callable[[], Any]:
        http = HTTPXClientInstrumentor()
        http.instrument(tracer_provider=providers["tracer_provider"])
        undo = neighbour.install(providers, client)
        return lambda: [undo(), http.uninstrument()]

    company = Company(replace(neighbour, install=install), OPENAI, provider)
    for told in asyncio.run(company.play("CNO")).values():
        nest(told.spans)
        requests = [span for span in told.spans if span.name == "POST"]
        assert len(requests) == (0 if name.startswith("Logfire") else told.asked)
        for request in requests:  # Logfire suppresses other instrumentations within its own
            assert any(is_inference(span) for span in ancestors(request, told.spans))


def test_a_cache_that_is_asked_over_http(provider: SimulatedProvider, recording: Recording) -> None:
    class RemoteCache(DictCache):
        def get(self, key: str) -> Any:
            requests.get(f"{provider.url}/cache", timeout=5)

    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=recording.tracer_provider)
    try:
        client = instrument(make("from_openai", provider), **recording.providers)
        client.create(**request_for("from_openai", RemoteCache()))
        client.client.close()
    finally:
        instrumentor.uninstrument()
    (lookup,) = recording.spans("cache lookup")
    (get,) = recording.spans("GET")
    assert get.parent.span_id == lookup.context.span_id


SET_UP = """
import instructor, json, os
from llm_cache_otel import instrument
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.models import User

exporter = InMemorySpanExporter()

def application():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

def openai():
    import openai
    return instructor.from_openai(openai.OpenAI())

def anthropic(**options):
    import anthropic
    sdk = anthropic.Anthropic(base_url=os.environ["PROVIDER"], api_key="k", **options)
    return instructor.from_anthropic(sdk)

def call(client):
    messages = [{"role": "user", "content": "Who is it?"}]
    instrument(client).create(
        model="any", max_tokens=100, messages=messages, response_model=User
    )
    client.client.close()
"""
TELL = """
from llm_cache_otel.later import later
later.wait(10)
print(json.dumps([
    (span.instrumentation_scope.name, span.name) for span in exporter.get_finished_spans()
]))
"""
OUR_INFERENCE = [OURS, "chat any"]
THEIR_INFERENCE = ["com.anthropic.sdk.python", "anthropic.messages.create"]
OPENLLMETRY = """
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
"""
MARKED = """
# as opentelemetry-util-genai does around an inference that it tells
mark = context.set_value("opentelemetry.genai.client.inference.context", object())
context.attach(mark)
call(openai())
"""


@pytest.mark.parametrize(
    ("program", "variables", "application", "sent"),
    [
        (f"{OPENLLMETRY}call(openai())", {}, [], [OUR_INFERENCE]),
        (
            f"{OPENLLMETRY}application()\ncall(openai())",
            {},
            [["opentelemetry.instrumentation.openai.v1", "openai.chat"]],
            [],
        ),
        (MARKED, {}, [], [OUR_INFERENCE]),
        (f"application()\n{MARKED}", {}, [], []),
        ("call(anthropic())", {}, [], [OUR_INFERENCE]),
        ("application()\ncall(anthropic())", {}, [THEIR_INFERENCE], []),
        (
            "application()\ncall(anthropic())",
            {"ANTHROPIC_OPEN_TELEMETRY": "false"},
            [OUR_INFERENCE],
            [],
        ),
        ("application()\ncall(anthropic(open_telemetry=False))", {}, [OUR_INFERENCE], []),
        (
            "application()\ncall(anthropic(open_telemetry={'tracer_provider': TracerProvider()}))",
            {},
            [OUR_INFERENCE],
            [],
        ),
    ],
    ids=[
        "no global provider",
        "a global provider",
        "marked, without a provider",
        "marked",
        "Anthropic, no global provider",
        "Anthropic",
        "Anthropic, switched off by the variable",
        "Anthropic, switched off",
        "Anthropic, with a provider of its own",
    ],
)
def test_the_global_provider(
    program: str,
    variables: dict[str, str],
    application: list[list[str]],
    sent: list[list[str]],
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    stage: Stage,
    tmp_path: Path,
) -> None:
    """Where ours goes through a pipeline of its own, nobody else tells anything there."""
    told = environment(provider, receiver, PROVIDER=provider.url, **variables)
    out, errors = stage.run(f"{SET_UP}{program}\n{TELL}", told, tmp_path)
    assert "Traceback" not in errors
    inferences = [OUR_INFERENCE, *application]
    assert [each for each in json.loads(out) if each in inferences] == application
    assert [[OURS, span.name] for span in receiver.spans if [OURS, span.name] in inferences] == sent
    assert receiver.metrics().histogram(DURATION).count == 1

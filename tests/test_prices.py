"""Where prices come from, when they are loaded, and what is said of bad ones."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
import sys
from collections.abc import Iterator
from typing import Any

import genai_prices
import pytest
from instructor.cache import AutoCache
from support import programs
from support.clients import request_for
from support.programs import environment
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import Rates, Settings, instrument
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.interpret import price_table
from llm_cache_otel.interpret.prices import Prices
from llm_cache_otel.interpret.rates import PriceTable
from llm_cache_otel.later import later

BAD: dict[str, dict[str, Any]] = {
    "must say input and output of 'n', not 7": {"prices": {"m": Rates(1, 2), "n": 7}},
    "must be a mapping, for example .+; got list": {"prices": ["m"]},
    "must have models' names for keys, not 7": {"prices": {7: Rates(1, 2)}},
    "must have models' names for keys, not ''": {"prices": {"": Rates(1, 2)}},
    "must say input and output of 'm', and no more than input, output": {
        "prices": {"m": {"input": 1}}
    },
    "must .* and no more than .*cache_read.*; got input, output, reads": {
        "prices": {"m": {"input": 1, "output": 2, "reads": 3}}
    },
    "is wrong of 'm': .* a number of USD .*; got '0,4'": {
        "prices": {"m": {"input": "0,4", "output": 2}}
    },
    'must be a JSON object, for example {"my-model": {"input"': {"prices": "my-model=0.4"},
    "must have a model's name for 'm', not 7": {"model_aliases": {"m": 7}},
    'must be a JSON object, for example {"my-deployment"': {"model_aliases": "gpt-4o"},
    "must have a model's name for 'm', not ' /'": {"model_aliases": {"m": " /"}},
    "must be a JSON object, .*": {"prices": "[" * 100_000},
    "is wrong of 'm': .* a number of USD": {"prices": {"m": {"input": 10**5000, "output": 2}}},
    "must be 'bundled', 'updated' or 'off'; got 'newest'": {"price_table": "newest"},
    "must have a number of tokens for 'm', not 1.5": {"prompt_minimums": {"m": 1.5}},
    "must have a number of tokens for 'm', not True": {"prompt_minimums": {"m": True}},
    "must have a number of tokens for 'm', not -1": {"prompt_minimums": {"m": -1}},
    "must be a mapping, for example .*1024.*; got list": {"prompt_minimums": [1024]},
    'must be a JSON object, for example {"my-model": 300}': {"prompt_retentions": "5m"},
    "must have a number of seconds for 'm', not '5m'": {"prompt_retentions": {"m": "5m"}},
    "must have a number of seconds for 'm', not nan": {"prompt_retentions": {"m": float("nan")}},
    "must have a number of seconds for 'm', not inf": {"prompt_retentions": {"m": float("inf")}},
    "must have models' names for keys, not 3": {"prompt_retentions": {3: 300}},
}


@pytest.mark.parametrize("complaint", BAD)
def test_settings_refuse_what_they_can_not_use(complaint: str) -> None:
    (name,) = BAD[complaint]
    with pytest.raises(ValueError, match=rf"^Settings\({name}=...\) {complaint}"):
        Settings(**BAD[complaint])


@pytest.mark.parametrize("rate", [-1, "much", float("nan"), float("inf"), True, None])
def test_rates_are_numbers(rate: Any) -> None:
    shown = "got -1$" if rate == -1 else "got "
    with pytest.raises(
        ValueError, match=rf"Rates\(output=...\) must be a number.*0 or more.*{shown}"
    ):
        Rates(input=1, output=rate)


def test_variables_have_them_in_json(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LLM_CACHE_OTEL_PRICES", '{"m": {"input": 0.4, "output": "1.60"}}')
    monkeypatch.setenv("LLM_CACHE_OTEL_MODEL_ALIASES", '{"mine": "m"}')
    monkeypatch.setenv("LLM_CACHE_OTEL_PRICE_TABLE", " OFF")
    given = Settings(
        prices={"m": Rates("0.4", "1.6")}, model_aliases={"mine": "m"}, price_table="off"
    )
    assert Settings() == given
    assert hash(Settings()) == hash(given)
    monkeypatch.setenv("LLM_CACHE_OTEL_PRICES", "none")
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        assert Settings().prices == {}
    assert "LLM_CACHE_OTEL_PRICES must be a JSON object, for example" in caplog.text


def spent(recording: Recording, provider: SimulatedProvider, settings: Settings) -> float | None:
    client = make_client(provider)
    instrument(client, settings=settings, **recording.providers)
    client.create(**request_for("from_openai"))
    client.client.close()
    assert later.wait(10)
    return sum(recording.sums("llm_cache.spent.cost", "llm_cache.name").values()) or None


def test_own_rates_are_what_counts(provider: SimulatedProvider, recording: Recording) -> None:
    dear = Settings(prices={"gpt-4.1-mini": Rates(input=1000, output=0)})
    usual = spent(recording, provider, Settings())
    assert usual is not None
    assert (spent(recording, provider, dear) or 0) > 100 * usual


def test_switched_off_there_are_tokens_and_no_dollars(
    provider: SimulatedProvider, recording: Recording
) -> None:
    assert spent(recording, provider, Settings(price_table="off")) is None
    points = "\n".join(recording.points())
    assert spent(recording, provider, Settings(price_table="off")) is None
    text = "\n".join(recording.points())
    assert "{USD}" not in points + text
    assert "llm_cache.unpriced.requests" not in points + text


def test_without_a_table_there_are_rates_of_ones_own(
    provider: SimulatedProvider, recording: Recording
) -> None:
    own = {"gpt-4.1-mini": Rates(input=1, output=1)}
    assert spent(recording, provider, Settings(price_table="off", prices=own))
    assert (
        spent(recording, provider, Settings(price_table="off", prices={"m": Rates(1, 1)})) is None
    )
    assert recording.sums("llm_cache.unpriced.requests", "llm_cache.unpriced.reason") == {}


def test_prices_are_updated_where_that_is_asked_for_only(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(genai_prices.UpdatePrices, "start", lambda self: started.append(self))
    Prices({}, {}, PriceTable.BUNDLED).load()
    assert started == []
    updated = Prices({}, {}, PriceTable.UPDATED)
    assert not updated.is_loaded
    updated.load()
    updated.load()
    assert len(started) == 1
    assert updated.is_loaded


UPDATED = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread

is_told = Event()
dearer = {"input_mtok": 1000, "output_mtok": 1000}
model = {"id": "gpt-4.1-mini", "match": {"equals": "gpt-4.1-mini"}, "prices": dearer}
table = [{"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": [model]}]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        is_told.wait(30)
        body = json.dumps(table).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
Thread(target=server.serve_forever, daemon=True).start()

import genai_prices
genai_prices.UpdatePrices.__init__.__defaults__ = (
    3600, f"http://127.0.0.1:{server.server_port}/", *genai_prices.UpdatePrices.__init__.__defaults__[2:]
)
from llm_cache_otel import flush
from llm_cache_otel.later import later
from support.caller import Caller
caller = Caller()
caller(0)
assert later.wait(10)
is_told.set()
assert genai_prices.wait_prices_updated_sync(10)
caller(1)
print(flush())
"""


def test_updated_prices_are_used_as_soon_as_they_are_there(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    variables = environment(provider, receiver, LLM_CACHE_OTEL_PRICE_TABLE="updated")
    out, errors = programs.run(UPDATED, variables)
    assert (out.split(), errors) == (["True"], "")
    by_bundled, by_updated = (
        span.attributes["llm_cache.spent.cost"]
        for span in receiver.spans
        if span.name.startswith("chat")
    )
    assert by_updated > 500 * by_bundled


def test_what_comes_before_the_table_is_loaded_is_told_later(
    provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the caller's thread nothing is imported, however long that takes."""
    client, cache = make_client(provider), AutoCache()
    instrument(client, **recording.providers)
    monkeypatch.setattr(price_table.table, "is_loaded", False)
    held = price_table.table._lock
    with held:
        client.create(**request_for("from_openai", cache))
        assert recording.exporter.get_finished_spans() == ()
    assert later.wait(10)
    assert price_table.table.is_loaded
    client.create(**request_for("from_openai", cache))
    outcomes = [span.attributes.get("llm_cache.outcome") for span in recording.spans()]
    assert [outcome for outcome in outcomes if outcome] == ["miss", "hit"]
    assert recording.spans()[-1].attributes["llm_cache.saved.cost"] == next(
        span.attributes["llm_cache.spent.cost"]
        for span in recording.spans()
        if "llm_cache.spent.cost" in span.attributes
    )
    client.client.close()


FIRST_HITS = """
import sys, time
from support.caller import Caller
caller = Caller()
assert "genai_prices" not in sys.modules, "importing us, and instrumenting, loads no prices"
assert "httpx2" in sys.modules, "or openai would use it half made, in another thread"
caller(1)
"""


def test_nothing_is_loaded_before_the_first_call_and_all_of_it_arrives(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    programs.run(FIRST_HITS, environment(provider, receiver))
    assert receiver.metrics().total("llm_cache.spent.cost") > 0
    assert receiver.metrics().total("llm_cache.requests") == 1
    assert "genai_prices" in sys.modules


FIRST_CALLS_OF_CHILDREN = """
import multiprocessing, os, sys
from support.caller import Caller
caller = Caller()
child = multiprocessing.get_context("fork").Process(target=caller, args=("a process's first",))
child.start()
child.join()
assert child.exitcode == 0
child = os.fork()
if not child:
    caller("a child's first")
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert "genai_prices" not in sys.modules
"""


def test_children_tell_what_they_did_while_prices_were_loaded(
    provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    programs.run(FIRST_CALLS_OF_CHILDREN, environment(provider, receiver))
    assert receiver.metrics().total("llm_cache.requests") == 2
    assert receiver.metrics().total("llm_cache.spent.cost") > 0


ENDS = {
    "providers that came after the first call": """
caller(0)
own_providers()
caller(1)
""",
    "no genai-prices": """
sys.modules["genai_prices"] = None
for number in range(2):
    caller(number)
    assert later.wait(10)
""",
    "a genai-prices that exits": """
class Exits(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "genai_prices":
            sys.exit(7)
sys.meta_path.insert(0, Exits())
for number in range(2):
    caller(number)
    assert later.wait(10)
""",
    "another idea of decimals": """
for number in range(2):
    caller(number)
    assert later.wait(10)
""",
}
BEGINNING = """
import decimal, importlib.abc, sys
if "decimals" in {name!r}:
    decimal.DefaultContext.traps[decimal.Inexact] = True
    decimal.DefaultContext.prec, decimal.DefaultContext.Emax = 2, 3
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from llm_cache_otel.later import later
from support.caller import Caller

def own_providers():
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))

caller = Caller()
"""


@pytest.mark.parametrize("name", ENDS)
def test_calls_and_tokens_are_told_whatever_becomes_of_prices(
    name: str, provider: SimulatedProvider, receiver: OtlpReceiver
) -> None:
    program = BEGINNING.format(name=name) + ENDS[name]
    _, errors = programs.run(program, environment(provider, receiver, "http/protobuf"))
    received = receiver.metrics()
    assert received.total("llm_cache.requests") == 2
    assert received.total("gen_ai.client.inference.usage.input_tokens") > 0
    assert len([span for span in receiver.spans if span.name == "create User"]) == 2
    assert received.total("llm_cache.instrumentation.errors") == 0
    if "genai-prices" in name:
        assert errors.count("There are no dollars: genai-prices can't be imported") == 1
        assert received.total("llm_cache.unpriced.requests") == 2
        assert received.total("llm_cache.spent.cost") == 0
    else:
        assert errors == ""
        assert received.total("llm_cache.spent.cost") > 0


def test_settings_can_be_copied_and_sent_elsewhere() -> None:
    settings = Settings(prices={"m": Rates(1, 2)}, model_aliases={"a": "m"})
    assert pickle.loads(pickle.dumps(settings)) == copy.deepcopy(settings) == settings


class TimeLimit(Exception):
    """What a handler of a signal raises."""


@pytest.fixture
def fresh() -> Iterator[price_table._Table]:
    """A table that is not loaded, while `SIGUSR1` is a time limit."""

    def strike(*_: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGUSR1, strike)
    yield price_table._Table()
    signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_that_strikes_while_it_is_imported_is_the_programs(
    fresh: price_table._Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck() -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", struck)
    with pytest.raises(TimeLimit):
        fresh.load()
    assert fresh.failure is None
    fresh.load()
    assert fresh.is_loaded


def test_a_handler_that_wants_it_while_it_is_imported_goes_without(
    fresh: price_table._Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck() -> None:
        monkeypatch.undo()
        fresh.load()
        assert not fresh.is_loaded

    monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", struck)
    fresh.load()
    assert fresh.is_loaded
    assert fresh.failure is None

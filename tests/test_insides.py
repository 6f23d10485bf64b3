"""An Instructor whose insides have moved: what can be seen still is, one warning says what can't be, and
nothing breaks. Each is hidden from us in turn, in a process of its own, while Instructor works as ever.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.programs import environment, output_of, start

from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.observe import instructor_api

SOURCE = Path(instructor_api.__file__).read_text(encoding="utf-8")
NAMES = {place.partition(":")[2] for place in re.findall(r'"(instructor[\w.]*:\w+)"', SOURCE)}
RENAMED = [
    ("make_request_cache_key", "make_cache_key"),
    ("retry_sync_v2", "retry_sync"),
    ("retry_async_v2", "retry_async"),
]
"""One inside each, by its names in different versions."""
INSIDES = [*RENAMED, *((name,) for name in sorted(NAMES - {n for names in RENAMED for n in names}))]
OF_KEYS = ("expired", "evicted", "lost", "not_stored", "in_flight")
"""Why a key misses, whatever it is made of."""

ANSWERS = ("IterableBase", "AdapterBase", "ParallelBase", "PartialBase", "Mode")

PROGRAM = """
import importlib, json, logging, sys

hidden = json.loads(sys.argv[1])
real = importlib.import_module


class Moved:
    def __init__(self, module):
        vars(self)["_module"] = module

    def __getattr__(self, name):
        if name in hidden:
            raise AttributeError(name)
        return getattr(self._module, name)

    def __setattr__(self, name, value):
        setattr(self._module, name, value)


def moved(name, package=None):
    if name in hidden:
        raise ModuleNotFoundError(name)
    module = real(name, package)
    return Moved(module) if name.split(".")[0] == "instructor" else module


importlib.import_module = moved
import llm_cache_otel.observe.instructor_api
importlib.import_module = real

warnings = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("llm_cache_otel").addHandler(handler)

import asyncio, warnings as python_warnings
python_warnings.simplefilter("error")
from typing import Iterable, Union
import instructor, openai
from instructor.cache import AutoCache
from support.models import MESSAGES, City, DictCache, DuckCache, FailingCache, User
from support.recording import Recording
from support.ways import make_client
from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from llm_cache_otel.later import later

REQUEST = {"model": "gpt-4.1-mini", "messages": MESSAGES, "response_model": User}


def program(provider, observe):
    seen = []

    def attempt(work):
        try:
            seen.append(repr(work()))
        except Exception as error:
            seen.append([type(error).__name__, type(error.__cause__).__name__])

    client = make_client(provider, cache=AutoCache())
    patched = instructor.patch(openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0))
    own = DictCache()
    for target in (client, patched, own):
        observe(target)
    attempt(lambda: client.create(**REQUEST))
    attempt(lambda: client.create(**REQUEST))
    provider.cues.add(Cue(answer={}))
    attempt(lambda: client.create(**REQUEST, temperature=0.1, max_retries=2))
    provider.cues.add(Cue(status=500))
    attempt(lambda: client.create(**REQUEST, temperature=0.2, max_retries=1))
    attempt(lambda: client.create(**REQUEST, cache=FailingCache("get")))
    attempt(lambda: client.create(**REQUEST, cache=DuckCache()))
    attempt(lambda: client.create(**REQUEST, cache=own))
    attempt(lambda: client.create(**{**REQUEST, "response_model": int}))
    attempt(lambda: client.create(**{**REQUEST, "response_model": None}).choices[0].finish_reason)
    attempt(lambda: list(client.create_partial(**REQUEST)))
    attempt(lambda: list(client.create_iterable(**REQUEST)))
    attempt(lambda: patched.chat.completions.create(**REQUEST, cache=own))

    async def on_the_loop():
        client = make_client(provider, asynchronous=True, cache=AutoCache())
        observe(client)
        for _ in range(2):
            seen.append(repr(await client.create(**REQUEST)))
        seen.append([repr(user) async for user in client.create_iterable(**REQUEST)])
        await client.client.close()

    asyncio.run(on_the_loop())
    for sdk in (client.client, patched):
        sdk.close()
    return seen


def tell(recording):
    later.wait(5)
    told = {
        "creates": [dict(span.attributes) for span in recording.spans() if span.name.startswith("create")],
        "names": sorted({span.name.split()[0] for span in recording.spans()}),
        "errors": recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where"),
    }
    recording.clear()
    return told


with SimulatedProvider() as provider:
    bare = program(provider, lambda target: None)
    recording = Recording()

    def by_hand(target):
        try:
            instrument(target, **recording.providers)
        except TypeError as error:
            assert "accepts" in str(error)

    seen = {"by hand": program(provider, by_hand)}
    told = {"by hand": tell(recording)}
    LLMCacheInstrumentor().instrument(**recording.providers)
    seen["zero-code"] = program(provider, lambda target: None)
    told["zero-code"] = tell(recording)
    LLMCacheInstrumentor().uninstrument()
    print(json.dumps({"bare": bare, "seen": seen, "told": told, "warnings": warnings}))
"""


@pytest.fixture(scope="module")
def hide(simulated_provider: SimulatedProvider) -> Any:
    known: dict[tuple[str, ...], Any] = {}

    def without(*hidden: str) -> Any:
        if hidden not in known:
            process = start(PROGRAM, environment(simulated_provider), json.dumps(hidden))
            out, _ = output_of(process)
            known[hidden] = json.loads(out)
        return known[hidden]

    return without


def outcomes(told: Any) -> list[tuple[str | None, str | None]]:
    return [
        (create.get("llm_cache.outcome"), create.get("llm_cache.reason"))
        for create in told["creates"]
    ]


def moved(ran: Any) -> list[str]:
    return [said for said in ran["warnings"] if "does not find them" in said]


def test_nothing_is_missing_now(hide: Any) -> None:
    assert instructor_api.missing == []
    ran = hide()
    assert moved(ran) == []
    for door in ("by hand", "zero-code"):
        assert ran["seen"][door] == ran["bare"]
        assert ran["told"][door]["errors"] == {}
        assert ("hit", None) in outcomes(ran["told"][door])


@pytest.mark.parametrize("inside", INSIDES, ids=lambda names: names[0])
def test_what_one_inside_was_needed_for_is_named_and_the_rest_is_seen(
    inside: tuple[str, ...], hide: Any
) -> None:
    whole, ran, name = hide(), hide(*inside), inside[0]
    assert len(moved(ran)) == 1, ran["warnings"]
    for door in ("by hand", "zero-code"):
        told, told_whole = ran["told"][door], whole["told"][door]
        assert ran["seen"][door] == ran["bare"], "the program saw it"
        assert told["errors"] == {}
        if name == "Instructor":  # left are the clients that instructor.patch has changed
            assert 0 < len(told["creates"]) < len(told_whole["creates"])
            continue
        expected = outcomes(told_whole)
        if name in ("make_request_cache_key", "load_cached_response"):
            # What a key is made of is not known, or nothing of a miss.
            known = () if name == "load_cached_response" else OF_KEYS
            expected = [
                told if told[0] != "miss" or told[1] in known else ("miss", None)
                for told in expected
            ]
        if name == "load_cached_response":
            # Told from whether the provider was called; a cache that fails leaves no such evidence.
            expected = [told if told[0] != "error" else (None, None) for told in expected]
        if name in ("BaseCache", "retry_sync_v2"):  # is any other cache ignored? That is not known
            expected = [told if told[1] != "not_a_cache" else ("bypass", None) for told in expected]
        if name in ANSWERS:
            assert len(told["creates"]) == len(told_whole["creates"])
        else:
            assert outcomes(told) == expected
        if name.startswith("retry"):
            assert all("llm_cache.attempts" not in create for create in told["creates"])


def test_without_lookups_and_attempts_no_outcome_is_made_up(hide: Any) -> None:
    ran = hide("load_cached_response", *RENAMED[1], *RENAMED[2])
    for door in ("by hand", "zero-code"):
        told = ran["told"][door]
        assert ran["seen"][door] == ran["bare"]
        assert told["errors"] == {}
        assert {outcome for outcome, _ in outcomes(told)} <= {None, "bypass", "off"}
        assert all("llm_cache.attempts" not in create for create in told["creates"])
    (said,) = moved(ran)
    for what in ("lookups", "attempts", "attempts of async clients"):
        assert what in said


def test_with_everything_gone_the_program_runs_as_ever(hide: Any) -> None:
    ran = hide(*NAMES)
    assert len(moved(ran)) == 1
    for door in ("by hand", "zero-code"):
        assert ran["seen"][door] == ran["bare"]
        assert ran["told"][door]["errors"] == {}


def test_before_there_was_a_cache(hide: Any) -> None:
    ran = hide("instructor.cache")
    assert len(moved(ran)) == 1
    for door in ("by hand", "zero-code"):
        assert ran["seen"][door] == ran["bare"]
        assert ran["told"][door]["errors"] == {}
        assert ran["told"][door]["creates"]

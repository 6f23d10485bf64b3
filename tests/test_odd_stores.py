"""Stores and functions in the ways that programs have with them, which are not all plain."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import openai
import pytest
import redis
import redis.asyncio
from instructor.cache import BaseCache
from opentelemetry import trace
from pydantic import BaseModel
from support.interrupts import InterruptAt
from support.models import MESSAGES, User
from support.recording import Recording
from support.ways import MODEL, make_client

from llm_cache_otel import instructor_cache, instrument
from llm_cache_otel.caching.entries import Entries
from llm_cache_otel.caching.keys import Keys
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.later import later
from llm_cache_otel.observe.adapter import place_of
from llm_cache_otel.observe.step import NOWHERE, surroundings


class Note(BaseModel):
    text: str


DROPPED = """
import asyncio, faulthandler, gc, socket, sys, warnings
faulthandler.dump_traceback_later(20, exit=True)
warnings.simplefilter("ignore")
import diskcache, redis.asyncio
from pydantic import BaseModel
from support.recording import Recording
from llm_cache_otel import instructor_cache, instrument
from llm_cache_otel.later import later

class Note(BaseModel):
    text: str

recording = Recording()
first = instrument(diskcache.Cache(sys.argv[1]), **recording.providers)
first.get("a")
later.wait(10)  # so that there is something to lock
silent = socket.create_server(("127.0.0.1", 0))
store = redis.asyncio.Redis(port=silent.getsockname()[1])

@instructor_cache(store)
async def extract(text: str) -> Note:
    print("it went on")

waiting = {"store": lambda: instrument(store, **recording.providers).get("a"),
           "function": lambda: instrument(extract, **recording.providers)("a")}[sys.argv[2]]
loop = asyncio.new_event_loop()

async def begin():
    task = asyncio.ensure_future(waiting())
    await asyncio.sleep(0.3)

loop.run_until_complete(begin())
gc.collect()
locked = [one for one in gc.get_objects() if type(one).__name__ == "_ViewInstrumentMatch"]
assert locked
gc.disable()
loop.close()
del loop
for one in locked:
    one._lock.acquire()
sys.unraisablehook = lambda _: None
gc.collect()
print("no deadlock")
"""


@pytest.mark.parametrize("what", ["store", "function"])
def test_what_a_collection_drops_while_it_waits_for_a_store_waits_for_no_lock(
    what: str, tmp_path: Path
) -> None:
    """Nor does a cached function go on that is closed."""
    ended = subprocess.run(
        [sys.executable, "-c", DROPPED, str(tmp_path), what],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.stdout == "no deadlock\n", ended.stderr


def test_a_function_that_nobody_has_is_freed_at_once(recording: Recording) -> None:
    def cached_functions() -> int:
        return sum(type(each).__name__ == "CachedFunction" for each in gc.get_objects())

    later.wait(10)  # which lets go of others
    gc.collect()
    gc.disable()
    try:
        others = cached_functions()
        observed = instrument(functools.cache(lambda number: [number]), **recording.providers)
        observed(1), observed(1)
        assert cached_functions() == others + 1
        gone = weakref.ref(observed)
        del observed
        assert gone() is None
        assert cached_functions() == others
    finally:
        gc.enable()


class ConnectsLater(BaseCache):
    """When it is first used."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._disk: diskcache.Cache | None = None

    def get(self, key: str) -> Any:
        self._disk = self._disk or diskcache.Cache(self._directory)
        return self._disk.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        assert self._disk is not None
        self._disk.set(key, value, ttl)


def test_an_adapter_is_known_by_what_it_connects_to_later(
    provider: SimulatedProvider, recording: Recording, tmp_path: Path
) -> None:
    client = make_client(provider, cache=ConnectsLater(tmp_path))
    instrument(client, **recording.providers)
    request = {"model": MODEL, "messages": MESSAGES, "response_model": User}
    client.create(**request)
    client.create(**request)
    assert recording.sums("llm_cache.requests", "llm_cache.backend") == {
        "ConnectsLater": 1,
        "disk": 1,
    }


class OddAdapter(BaseCache):
    """Whose parameters have other names."""

    def __init__(self) -> None:
        self.held: dict[Any, Any] = {}

    def get(self, store: Any) -> Any:  # type: ignore[override]
        return self.held.get(store)

    def set(self, store: Any, value: Any, ttl: Any = None) -> None:  # type: ignore[override]
        assert ttl is None or isinstance(ttl, int)
        self.held[store] = value


def test_an_adapters_parameters_may_have_any_names(recording: Recording) -> None:
    cache = instrument(OddAdapter(), **recording.providers)
    cache.set(store="k", value=1)
    assert cache.get(store="k") == 1
    OddAdapter().set(store="k", value=1)


def test_whole_seconds_are_given_as_such(recording: Recording) -> None:
    @instructor_cache(OddAdapter(), ttl=3600.0)
    def extract(text: str) -> Note:
        return Note(text=text)

    observed = instrument(extract, **recording.providers)
    observed("a"), observed("a")
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"miss": 1, "hit": 1}


def test_what_is_read_before_the_answer_is_no_answer(recording: Recording, tmp_path: Any) -> None:
    cache = instrument(diskcache.Cache(tmp_path), **recording.providers)
    cache.set("is on", "yes")
    recording.clear()

    @functools.partial(instrument, **recording.providers)
    def extract(text: str) -> str:
        assert cache.get("is on") == "yes"
        found = cache.get(text)
        if found is None:
            found = text.upper()
            cache.set(text, found)
        return str(found)

    assert [extract("a"), extract("a")] == ["A", "A"]
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"miss": 1, "hit": 1}
    cache.close()


def test_behind_a_sentinel_nobody_knows_the_place() -> None:
    sentinel = redis.sentinel.Sentinel([("127.0.0.1", 1)])
    assert place_of(sentinel.master_for("orders")) is None
    assert place_of(redis.Redis(host="a", port=1)) == ("redis", "a", 1, None, 0)


class Marked(str):
    """A text that has more to it."""

    __slots__ = ("__dict__",)


class Both(dict[str, str]):
    role: str = ""


def _key(value: Any) -> Any:
    def function(value: Any) -> Note:
        raise NotImplementedError

    return Keys(function, Note).key_of((value,), {})


def test_what_is_more_than_its_text_is_in_no_key() -> None:
    marked = Marked("hello")
    assert _key(marked).text is not None
    marked.language = "de"
    assert _key(marked).unwritable == "value"
    both = Both(city="Rome")
    both.role = "user"
    assert _key(both).unwritable == "value"


@pytest.mark.parametrize(
    "origin", ['{"seconds": Infinity}', '{"seconds": -1}', '{"charges": [{"asked_at": NaN}]}']
)
def test_numbers_that_can_not_be_are_not_believed(origin: str) -> None:
    entry = '{"answer": "{\\"text\\": \\"a\\"}", "origin": '
    assert Entries(Note).read(entry + '{"seconds": 1}}')[0] == Note(text="a")
    with pytest.raises(ValueError):
        Entries(Note).read(entry + origin + "}")


def test_a_setting_without_end_costs_no_facts(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    instrument(client, **recording.providers)
    with pytest.raises((ValueError, openai.OpenAIError)):
        client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=float("inf"))
    client.close()
    assert recording.spans("chat m")
    assert not recording.sums("llm_cache.instrumentation.errors", "error.type")


def test_an_interrupt_in_a_call_of_an_sdk_leaves_nothing_behind(
    provider: SimulatedProvider, recording: Recording, interrupting: Callable[..., Any]
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    instrument(client, **recording.providers)
    struck = interrupting(
        lambda: client.chat.completions.create(model="gpt-4.1-mini", messages=MESSAGES)
    )
    assert struck > 20
    client.close()


@pytest.fixture
def interrupting() -> Callable[..., int]:
    """Runs it with an interrupt at each entry of ours, and says how often that was."""

    def interrupting(run: Callable[[], Any]) -> int:
        interrupted, struck, number = 0, True, 0
        while struck:
            number += 1
            interrupt = InterruptAt(number)
            sys.setprofile(interrupt)
            try:
                run()
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.setprofile(None)
            struck = interrupt.struck
            assert surroundings.get(NOWHERE).call is None, interrupt.where
            assert surroundings.get(NOWHERE).asks is None, interrupt.where
            assert trace.get_current_span() is trace.INVALID_SPAN, interrupt.where
        return interrupted

    return interrupting

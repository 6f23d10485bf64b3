"""Functions behind `functools.cache` and `functools.lru_cache`: what they are, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import gc
import inspect
import logging
import pickle
import pydoc
import threading
import time
import weakref
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from support.functions import REASON, cached, requests
from support.recording import Recording

from llm_cache_otel import Settings, instrument, uninstrument
from llm_cache_otel.later import later
from llm_cache_otel.observe import function_cache
from llm_cache_otel.reporter import Reporter

unheard = functools.partial(
    instrument, tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()
)


@functools.cache
def at_home(text: str, times: int = 1) -> str:
    """What a module has."""
    return text * times


BARE = at_home
at_home = unheard(at_home)


def test_it_is_the_function_to_all_who_ask() -> None:
    assert at_home.__name__ == "at_home"
    assert at_home.__qualname__ == BARE.__qualname__
    assert at_home.__module__ == BARE.__module__
    assert at_home.__doc__ == "What a module has."
    assert at_home.__wrapped__ is BARE.__wrapped__
    assert inspect.signature(at_home) == inspect.signature(BARE)
    assert at_home.cache_parameters() == BARE.cache_parameters()
    assert inspect.unwrap(at_home) is BARE.__wrapped__
    assert pickle.loads(pickle.dumps(at_home)) is at_home
    assert copy.copy(at_home) is at_home
    assert copy.deepcopy(at_home) is at_home
    assert weakref.ref(at_home)() is at_home
    assert "What a module has." in pydoc.render_doc(at_home, renderer=pydoc.plaintext)
    assert at_home.cache_clear.__name__ == "cache_clear"
    assert inspect.getsource(at_home) == inspect.getsource(BARE)


def test_it_starts_with_an_empty_cache_of_the_same_parameters(recording: Recording) -> None:
    bare = functools.lru_cache(maxsize=3, typed=True)(lambda x: [x])
    kept = bare(1)
    observed = instrument(bare, **recording.providers)
    assert observed.cache_info() == (0, 0, 3, 0)
    assert observed(1) is not kept
    assert observed(1) is observed(1)
    assert observed.cache_info() == (2, 1, 3, 1)
    assert bare.cache_info() == (0, 1, 3, 1)
    observed.cache_clear()
    assert observed.cache_info() == (0, 0, 3, 0)


def test_arguments_without_a_hash_raise_what_they_raised(recording: Recording) -> None:
    bare = functools.cache(len)
    observed = instrument(bare, **recording.providers)
    with pytest.raises(TypeError) as expected:
        bare([1])
    with pytest.raises(TypeError) as raised:
        observed([1])
    assert raised.value.args == expected.value.args
    assert observed.cache_info() == bare.cache_info()
    nothing_kept = instrument(functools.lru_cache(maxsize=0)(len), **recording.providers)
    assert nothing_kept([1]) == 1
    assert requests(recording) == {"miss": 1}


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @unheard
    @functools.lru_cache(maxsize=8)  # noqa: B019
    def answer(self, text: str) -> str:
        return f"{self.name} {text}"

    @staticmethod
    @unheard
    @functools.cache
    def static(text: str) -> str:
        return text

    @classmethod
    @unheard
    @functools.cache
    def of_class(cls, text: str) -> str:
        return f"{cls.__name__} {text}"


class Branch(Shop):
    def answer(self, text: str) -> str:
        return super().answer(text) + "!"


def test_methods_static_methods_and_class_methods() -> None:
    one, other, branch = Shop("one"), Shop("other"), Branch("branch")
    for shop in (one, other, branch):
        assert shop.answer("x") == shop.answer("x")
    assert (one.answer("x"), branch.answer("x")) == ("one x", "branch x!")
    assert Shop.answer.cache_info()[:2] == (5, 3)
    assert Shop.static("x") == Branch.static("x") == "x"
    assert Shop.static.cache_info()[:2] == (1, 1)
    assert (Shop.of_class("x"), Branch.of_class("x")) == ("Shop x", "Branch x")
    assert Shop.of_class.cache_info().misses == 2


OUTCOMES = ("hit", "miss")


def counted(recording: Recording) -> tuple[int, int]:
    found = requests(recording)
    return found["hit"], found["miss"]


class Refusing(Exception):
    pass


@given(
    st.sampled_from([0, 1, 3, None]),
    st.booleans(),
    st.lists(st.sampled_from([1, 2, 3, 1.0, True, "1", (1,), (-1,), (-2,), -1, -2, "fail"])),
)
def test_hits_and_misses_are_the_interpreters(
    maxsize: int | None, typed: bool, asked: list[Any]
) -> None:
    recording = Recording()

    def run(argument: Any) -> Any:
        if argument == "fail":
            raise Refusing
        return argument, type(argument)

    bare = functools.lru_cache(maxsize=maxsize, typed=typed)(run)
    observed = instrument(bare, **recording.providers)
    seen: list[list[Any]] = []
    for function in (observed, functools.lru_cache(maxsize=maxsize, typed=typed)(run)):
        seen.append([])
        for argument in asked:
            try:
                seen[-1].append(function(argument))
            except Refusing:
                seen[-1].append("refused")
        seen[-1].append(function.cache_info())
    assert seen[0] == seen[1]
    assert counted(recording) == seen[1][-1][:2]
    recording.meter_provider.shutdown()
    recording.tracer_provider.shutdown()


@pytest.mark.parametrize("maxsize", [0, 2, None])
def test_many_threads_on_few_keys(maxsize: int | None, recording: Recording) -> None:
    """With runs that call themselves, that fail, and that wait for others."""

    def run(number: int, *, deeper: bool = False) -> int:
        time.sleep(0.0001 * (number % 3))
        if number == 5:
            raise Refusing
        if not deeper and number == 4:
            return observed(number, deeper=True) + observed(1)
        return number

    observed = instrument(functools.lru_cache(maxsize=maxsize)(run), **recording.providers)
    begin = threading.Barrier(8)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        begin.wait()
        for turn in range(400):
            number = (turn * 7 + seed) % 6
            try:
                if observed(number) != (5 if number == 4 else number):
                    wrong.append(number)
            except Refusing:
                if number != 5:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert counted(recording) == observed.cache_info()[:2]


def test_collections_at_any_time_lose_nothing(recording: Recording) -> None:
    observed = instrument(functools.cache(lambda x: x), **recording.providers)
    over, found = threading.Event(), Counter[str]()

    def collect() -> None:
        while not over.is_set():
            found.update(requests(recording))

    collecting = threading.Thread(target=collect)
    collecting.start()
    threads = [
        threading.Thread(target=lambda: [observed(number % 5) for number in range(20_000)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    collecting.join()
    found.update(requests(recording))
    info = observed.cache_info()
    assert (found["hit"], found["miss"]) == info[:2]


def test_hits_are_told_when_there_are_many_when_it_runs_again_and_at_collection(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    facts = function_cache.CachedFunction._facts

    def noted(self: Any, hits: list[Any], waited: int) -> Any:
        told.append(len(hits))
        return facts(self, hits, waited)

    monkeypatch.setattr(function_cache.CachedFunction, "_facts", noted)
    observed = instrument(functools.cache(lambda x: x), **recording.providers)
    for _ in range(1 + function_cache._MANY):
        observed(1)
    assert told == [function_cache._MANY]
    for argument in (1, 1, 2):
        observed(argument)
    assert told[1:] == [2]
    observed(2)
    assert counted(recording) == (function_cache._MANY + 3, 2)
    assert told[2:] == [1]


def test_of_many_hits_at_once_the_durations_are_a_sample(recording: Recording) -> None:
    observed = instrument(functools.cache(lambda x: x), **recording.providers)
    for _ in range(501):
        observed(1)
    points = recording.raw_points()
    by_outcome: dict[str, Any] = {}
    for metric, point in points:
        if metric.name == "llm_cache.request.duration":
            by_outcome[point.attributes["llm_cache.outcome"]] = point
    assert 1 <= by_outcome["hit"].count <= 500
    assert by_outcome["miss"].count == 1


def test_hits_of_a_function_that_is_let_go_are_told(recording: Recording) -> None:
    observed = instrument(functools.cache(lambda x: x), **recording.providers)
    for _ in range(3):
        observed(1)
    del observed
    gc.collect()
    assert later.wait(5)
    assert counted(recording) == (2, 1)


def test_a_span_for_each_hit_is_a_setting(recording: Recording) -> None:
    settings = Settings(function_hit_spans=True)
    observed = instrument(functools.cache(lambda x: x), settings=settings, **recording.providers)
    quiet = instrument(functools.cache(lambda x: x), **recording.providers)
    for function in (observed, quiet):
        for _ in range(3):
            function(1)
    outcomes = [span.attributes["llm_cache.outcome"] for span in recording.spans("create <lambda>")]
    assert sorted(outcomes) == ["hit", "hit", "miss", "miss"]
    assert counted(recording) == (4, 2)


def test_nothing_where_instrumentation_is_suppressed(recording: Recording) -> None:
    observed = instrument(functools.cache(lambda x: x), **recording.providers)
    with suppress_instrumentation():
        assert [observed(1), observed(1)] == [1, 1]
    assert not recording.spans()
    assert counted(recording) == (0, 0)
    observed(1)
    assert counted(recording) == (1, 0)


def test_uninstrument_and_again(recording: Recording) -> None:
    observed = instrument(functools.cache(lambda x: [x]), name="first", **recording.providers)
    kept = observed(1)
    assert uninstrument(observed) is observed
    assert observed(1) is kept
    observed(2)
    assert counted(recording) == (0, 1)
    assert instrument(observed, name="second", **recording.providers) is observed
    assert observed(1) is kept
    assert requests(recording, "llm_cache.name") == {"second": 1}
    assert instrument(observed) is observed


def test_whoever_is_told_later_is_told_whenever_metrics_are_collected(recording: Recording) -> None:
    other = Recording()
    observed = instrument(functools.cache(lambda x: [x]), **recording.providers)
    observed(1)
    uninstrument(observed)
    instrument(observed, **other.providers)
    observed(1)
    assert requests(other, "llm_cache.outcome") == {"hit": 1}
    assert counted(recording) == (0, 1)


def test_entries_and_the_room_for_them(recording: Recording) -> None:
    bounded = instrument(cached(maxsize=5)(lambda x: x), name="bounded", **recording.providers)
    endless = instrument(cached()(lambda x: x), name="endless", **recording.providers)
    for function in (bounded, endless):
        for number in range(7):
            function(number)
    gauges = {
        (metric.name, point.attributes["llm_cache.name"]): point.value
        for metric, point in recording.raw_points()
        if metric.name in ("llm_cache.entries", "llm_cache.capacity")
    }
    assert gauges == {
        ("llm_cache.entries", "bounded"): 5,
        ("llm_cache.capacity", "bounded"): 5,
        ("llm_cache.entries", "endless"): 7,
    }


def reason(recording: Recording) -> str | None:
    return recording.spans()[-1].attributes.get(REASON)


def test_why_it_ran(recording: Recording) -> None:
    def run(text: str, places: int = 1) -> str:
        if text == "fail":
            raise Refusing
        return text

    observed = instrument(cached()(run), **recording.providers)

    def why(*args: Any, **kwargs: Any) -> str | None:
        with contextlib.suppress(Refusing):
            observed(*args, **kwargs)
        return reason(recording)

    assert why("What is the capital of France?") == "new_prompt"
    assert why("Who wrote this book?") == "new_prompt"
    assert why("Who wrote this book?", 2) == "parameters_changed"
    where = recording.spans()[-1].attributes
    assert where["llm_cache.divergence.part"] == "request.places"
    assert why("Who  wrote this book?") == "near_duplicate_prompt"
    assert recording.spans()[-1].attributes["llm_cache.divergence.message"] == 0
    assert why("fail") == "new_prompt"
    assert why("fail") == "not_stored"
    observed.cache_clear()
    assert why("Who wrote this book?") == "lost"
    assert why("Another question?") == "new_prompt"
    assert why(text="Another question?") is None, "another entry, and nothing that differs"


def test_what_an_lru_dropped_was_evicted_and_what_was_cleared_was_not(recording: Recording) -> None:
    observed = instrument(cached(maxsize=2)(lambda text: text), **recording.providers)
    for text in ("a", "b", "c", "a"):
        observed(text)
    assert reason(recording) == "evicted"
    observed.cache_clear()
    for text in ("x", "y"):
        observed(text)
    assert observed.cache_info().currsize == 2
    observed("c")
    assert reason(recording) == "lost"


def test_a_key_that_another_is_asking_for_is_in_flight(recording: Recording) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def run(text: str) -> str:
        inside.set()
        go_on.wait(10)
        return text

    observed = instrument(cached()(run), **recording.providers)
    first = threading.Thread(target=observed, args=("a",))
    first.start()
    inside.wait(10)
    second = threading.Thread(target=observed, args=("a",))
    second.start()
    while observed.cache_info().misses < 2:
        time.sleep(0.001)
    go_on.set()
    first.join()
    second.join()
    reasons = Counter(span.attributes.get(REASON) for span in recording.spans())
    assert reasons == {"new_prompt": 1, "in_flight": 1}


@dataclasses.dataclass(frozen=True)
class Place:
    number: int


PAIRS = [
    (1, "1"),
    (-1, -2),
    ((-1,), (-2,)),
    (Place(-1), Place(-2)),
    (-1.0, -2.0),
    (1, 1.0),
    ("a", b"a"),
]
PAIRS += [(frozenset({-1}), frozenset({-2})), (None, "None")]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=repr)
def test_no_other_key_is_taken_for_one_that_was_there(
    one: Any, other: Any, recording: Recording
) -> None:
    observed = instrument(cached()(lambda x: x), **recording.providers)
    observed(one)
    observed(other)
    assert observed.cache_info().misses == 2
    assert reason(recording) not in ("lost", "evicted", "in_flight", "not_stored")


def test_nor_one_whose_value_is_another_arguments_name(recording: Recording) -> None:
    observed = instrument(cached()(lambda *args, **kwargs: 0), **recording.providers)
    observed("a", 1)
    observed(a=1)
    assert reason(recording) not in ("lost", "evicted", "in_flight", "not_stored")


REASONS_OF_RACES = {"new_prompt", "parameters_changed", "in_flight", "near_duplicate_prompt", None}


@pytest.mark.parametrize("turn", range(3))
def test_no_race_is_told_as_a_loss(turn: int, recording: Recording) -> None:
    """All ask for the same at once, over and over: nothing is ever dropped, so nothing is lost."""
    observed = instrument(cached()(lambda number: number), **recording.providers)
    begin = threading.Barrier(6)

    def work() -> None:
        for number in range(150):
            begin.wait()
            observed(number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = {span.attributes.get(REASON) for span in recording.spans()}
    assert seen <= REASONS_OF_RACES
    assert counted(recording) == observed.cache_info()[:2]


def test_what_was_stored_after_a_lookup_began_was_not_lost_before(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread has missed, and another stores the same before the first comes to be told of."""
    has_missed, has_stored = threading.Event(), threading.Event()

    def late() -> bool:
        """What is asked first after a miss."""
        if threading.current_thread() is first:
            has_missed.set()
            has_stored.wait(10)
        return False

    monkeypatch.setattr(Reporter, "is_suppressed", staticmethod(late))
    observed = instrument(cached()(lambda text: text), **recording.providers)
    first = threading.Thread(target=observed, args=("a",))
    first.start()
    has_missed.wait(10)
    observed("a")
    has_stored.set()
    first.join()
    assert observed.cache_info().misses == 2
    assert [span.attributes.get(REASON) for span in recording.spans()] == [
        "new_prompt",
        "in_flight",
    ]


def test_an_lru_that_is_too_small_is_told_what_would_do(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    observed = instrument(cached(maxsize=4)(lambda text: text), **recording.providers)
    for turn in range(60):
        observed(f"text {turn % 6}")
    assert later.wait(10)
    (said,) = [text for text in caplog.messages if "too small" in text]
    assert "The cache of <lambda>() of 4 entries" in said
    assert "functools.lru_cache(maxsize=6)" in said
    enough = instrument(cached(maxsize=6)(lambda text: text), **recording.providers)
    for turn in range(60):
        enough(f"text {turn % 6}")
    assert enough.cache_info().misses == 6


def test_hits_count_for_which_entries_an_lru_needs_room(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """Two that are always hit, and three that push each other out: five would be room for all."""
    observed = instrument(cached(maxsize=4)(lambda text: text), **recording.providers)
    for turn in range(90):
        for text in ("always", "this too", f"one of {turn % 3}"):
            observed(text)
            observed("always")
    assert later.wait(10)
    (said,) = [text for text in caplog.messages if "too small" in text]
    assert "maxsize=5" in said


def test_an_async_function_behind_functools_cache_is_left_alone_with_a_warning(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    @functools.cache
    async def extract(text: str) -> str:
        return text

    assert instrument(extract, **recording.providers) is extract
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "extract() is an async function" in said.getMessage()
    assert "awaited only once" in said.getMessage()
    assert asyncio.run(extract("a")) == "a"
    assert not recording.spans()


def test_what_is_yet_to_be_awaited_is_no_cause_for_advice(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> int:
        return 1

    async def main() -> None:
        observed = instrument(
            functools.cache(lambda text: asyncio.ensure_future(work())), **recording.providers
        )
        assert [await observed("a"), await observed("a")] == [1, 1]

    asyncio.run(main())
    assert later.wait(5), "what a function has noted when it goes is told by another thread"
    assert counted(recording) == (1, 1)
    assert not [text for text in caplog.messages if "is not known" in text]


def test_misses_that_come_faster_than_they_can_be_told_of(recording: Recording) -> None:
    """Whoever calls helps to tell, so that next to nothing is dropped; and what is, is counted."""

    @functools.lru_cache(maxsize=64)
    def echo(text: str) -> str:
        return text

    watched = instrument(echo, **recording.providers)
    for number in range(8_000):
        watched(f"what is {number}?")
    assert later.wait(120)
    found = recording.raw_points()
    told = [point for metric, point in found if metric.name == "llm_cache.requests"]
    dropped = sum(
        point.value for metric, point in found if metric.name == "llm_cache.instrumentation.errors"
    )
    assert sum(point.value for point in told) + dropped == 8_000
    assert dropped < 1_000  # on a machine that gives the thread no time for a while
    assert {point.attributes[REASON] for point in told} == {"new_prompt", "near_duplicate_prompt"}

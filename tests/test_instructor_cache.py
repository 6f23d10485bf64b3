"""What `instructor_cache` caches, over every kind of store, and what it tells of that."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import diskcache
import pytest
import redis
import redis.asyncio
from instructor.cache import AutoCache
from opentelemetry.instrumentation.utils import suppress_instrumentation
from pydantic import BaseModel, create_model, field_validator
from support.cached import AT_ONCE, BACKENDS, Runs, observed, outcomes, store_of, warnings_of
from support.interrupts import InterruptAt
from support.models import City, DictCache, FailingCache, User
from support.recording import Recording
from support.redis_server import redis_server

from llm_cache_otel import instructor_cache, instrument, uninstrument
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from llm_cache_otel.observe.backend import is_busy
from llm_cache_otel.observe.entry_function import current_entry
from llm_cache_otel.observe.spending import current_spending

EVERY_STORE = pytest.mark.parametrize("kind", BACKENDS)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def store(kind: str, tmp_path: Path, redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with store_of(kind, tmp_path, redis_url) as store:
        yield store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[diskcache.Cache]:
    with diskcache.Cache(str(tmp_path)) as cache:
        yield cache


def test_entries_of_a_cache_in_memory_are_counted(recording: Recording) -> None:
    cache, runs = AutoCache(maxsize=3), Runs()

    @observed(recording, cache)
    def extract(name: str) -> User:
        return runs(name)

    for name in ("Ada", "Alan", "Ada"):
        extract(name)
    assert recording.sums("llm_cache.entries", "llm_cache.backend") == {"memory": 2}
    extract("Grace")
    assert recording.sums("llm_cache.capacity", "llm_cache.backend") == {"memory": 3}


@EVERY_STORE
def test_what_was_answered_once_is_answered_again(
    kind: str, store: Any, recording: Recording
) -> None:
    runs = Runs()

    @observed(recording, store)
    def extract(name: str, *, polite: bool = False) -> User:
        """Who it is."""
        return runs(name)

    first, other = extract("Ada"), extract("Alan")
    assert (extract(name="Ada"), extract("Alan", polite=False)) == (first, other)
    assert runs.asked == ["Ada", "Alan"]
    assert (extract.__name__, extract.__doc__) == ("extract", "Who it is.")
    assert outcomes(recording) == [
        ("miss", "new_prompt"),
        ("miss", "new_prompt"),
        ("hit", None),
        ("hit", None),
    ]
    for span in recording.spans("create User"):
        assert span.attributes["llm_cache.backend"] == BACKENDS[kind]
    for name in ("cache lookup", "cache store"):
        assert {span.parent.span_id for span in recording.spans(name)} <= {
            span.context.span_id for span in recording.spans("create User")
        }


async def _asked(store: Any, recording: Recording) -> None:
    runs = Runs()

    @observed(recording, store, ttl=60)
    async def extract(name: str) -> User:
        await asyncio.sleep(0)
        return runs(name)

    first = await extract("Ada")
    assert await extract("Ada") == first
    assert await asyncio.gather(*(extract("Ada") for _ in range(20))) == [first] * 20
    assert len(runs) == 1
    assert outcomes(recording) == [("miss", "new_prompt"), *[("hit", None)] * 21]


@EVERY_STORE
def test_and_so_for_async_functions(kind: str, store: Any, recording: Recording) -> None:
    asyncio.run(_asked(store, recording))


def test_and_over_an_async_redis(redis_url: str, recording: Recording) -> None:
    async def run() -> None:
        url = f"{redis_url.removesuffix('/0')}/2"
        async with redis.asyncio.Redis.from_url(url, **AT_ONCE) as client:
            await client.flushall()
            await _asked(client, recording)

    asyncio.run(run())
    for span in recording.spans("cache store"):
        assert span.attributes["llm_cache.ttl"] == 60


@pytest.mark.parametrize("kind", ["diskcache", "fanout", "redis", "DiskCache"])
def test_an_entry_goes_when_its_time_is_over(kind: str, store: Any, recording: Recording) -> None:
    runs = Runs()

    @observed(recording, store, ttl=0.2)
    def extract(name: str) -> User:
        return runs(name)

    extract(kind)
    while len(runs) == 1:
        extract(kind)
        time.sleep(0.02)
    found = outcomes(recording)
    assert (found[0][0], found[-1]) == ("miss", ("miss", "expired"))
    assert set(found[1:-1]) == {("hit", None)}
    assert {span.attributes["llm_cache.ttl"] for span in recording.spans("cache store")} == {0.2}


def test_what_differs_from_an_earlier_request_of_the_same_function(recording: Recording) -> None:
    """What another function asked of the same store is no evidence of anything."""
    store = DictCache()

    def function(model: type[BaseModel], name: str) -> Any:
        def ask(text: str, *, temperature: float = 0.0) -> Any:
            return model.model_construct(name="Ada", age=36)

        ask.__annotations__["return"], ask.__qualname__ = model, name
        return observed(recording, store)(ask)

    older = create_model("User", name=(str, ...), age=(int, ...), born=(int, 1815))
    extract, summarize = function(User, "extract"), function(User, "summarize")
    extract_more = function(older, "extract")
    text = "The first programmer was Ada Lovelace, who was thirty-six years old when she died."
    for call in (extract, summarize, extract_more):
        call(text)
    extract(text, temperature=1.0)
    extract(f"{text} \n")
    assert outcomes(recording) == [
        ("miss", "new_prompt"),
        ("miss", "new_prompt"),
        ("miss", "schema_changed"),
        ("miss", "parameters_changed"),
        ("miss", "near_duplicate_prompt"),
    ]


UNREADABLE: dict[str, Any] = {
    "nothing": "",
    "prose": "no JSON",
    "bytes that are no text": b"\xff\xfe",
    "another entry": '{"name": "Ada", "age": 36}',
    "an answer that is none": '{"answer": "no JSON"}',
    "an answer of another model": '{"answer": "{\\"city\\": \\"Rome\\"}"}',
    "an origin that is none": '{"answer": "{\\"name\\": \\"Ada\\", \\"age\\": 36}", "origin": 7}',
    "a number": 7,
    "an object": {"answer": None},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_entry_that_can_not_be_read_is_made_anew(
    name: str, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    runs, store = Runs(), DictCache()

    @observed(recording, store)
    def extract(name: str) -> User:
        return runs(name)

    extract.__qualname__ = name
    extract("Ada")
    for _ in range(2):
        store.entries = dict.fromkeys(store.entries, UNREADABLE[name])
        extract("Ada")
        extract("Ada")
    assert len(runs) == 3
    assert outcomes(recording)[1:] == [("miss", "entry_invalid"), ("hit", None)] * 2
    assert recording.sums("llm_cache.requests", "error.type") == {None: 5}


def test_and_that_is_said_once(disk: diskcache.Cache, caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs()

    def spoiled(name: str) -> User:
        return runs(name)

    extract = uninstrument(instructor_cache(disk)(spoiled))
    extract("Ada")
    for _ in range(3):
        for key in disk:
            disk[key] = "spoiled"
        assert extract("Ada").age == len(runs)
    assert [warning.split(";")[0] for warning in warnings_of(caplog)] == [
        "An entry of test_and_that_is_said_once.<locals>.spoiled() can't be read (ValidationError)"
    ]


def test_what_can_not_be_part_of_a_key_is_not_cached(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    runs, store, inner = Runs(), DictCache(), DictCache()
    instrument(inner, **recording.providers)

    @observed(recording, store)
    def extract(name: str, connection: object) -> User:
        inner.get("documents")  # is no lookup of the decorator's
        return runs(name)

    for _ in range(2):
        extract("Ada", object())
    assert len(runs) == 2
    assert store.entries == {}
    assert outcomes(recording) == [("bypass", "unserializable_request")] * 2
    for span in recording.spans("create User"):
        assert span.attributes["llm_cache.bypass.part"] == "argument.connection"
        assert "llm_cache.key.digest" not in span.attributes
        assert span.attributes["llm_cache.backend"] == "DictCache"
    (warning,) = warnings_of(caplog)
    assert "its argument 'connection' can't be part of a key" in warning


class Admin(User):
    level: int = 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "not_a_model"),
        ({"name": "Ada", "age": 36}, "not_a_model"),
        (City(city="Rome"), "not_a_model"),
        (Admin(name="Ada", age=36), "not_stored"),
        (User.model_construct(name="Ada", age="old"), "not_stored"),
        (User.model_construct(name="Ada"), "not_stored"),
    ],
    ids=["None", "a dict", "another model", "a derived model", "not valid", "not whole"],
)
def test_what_a_hit_could_not_return_is_not_stored(
    answer: Any,
    reason: str,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    store = DictCache()

    def function(name: str) -> User:
        return answer  # type: ignore[no-any-return]

    function.__qualname__ = request.node.name
    extract = observed(recording, store)(function)
    for _ in range(3):
        assert extract("Ada") is answer
    assert store.entries == {}
    assert {reason for _, reason in outcomes(recording)[1:]} == {reason}
    assert len(warnings_of(caplog)) == 1


class Boom(Exception):
    pass


def test_what_the_function_raises_is_raised_as_it_is(recording: Recording) -> None:
    boom, store = Boom(), DictCache()

    @observed(recording, store)
    def extract(name: str) -> User:
        raise boom

    for _ in range(2):
        with pytest.raises(Boom) as raised:
            extract("Ada")
        assert raised.value is boom
        assert raised.value.__context__ is None
    assert outcomes(recording) == [("miss", "new_prompt"), ("miss", "not_stored")]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        extract()
    with pytest.raises(TypeError, match="unexpected keyword argument 'age'"):
        extract("Ada", age=3)
    assert store.entries == {}


class Interrupted(DictCache):
    """A store at which something strikes that is no error of its."""

    def __init__(self, where: str, strike: Any) -> None:
        super().__init__()
        self.where, self.strike = where, strike

    def get(self, key: str) -> Any:
        if self.where == "get":
            self.strike()
        return super().get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        if self.where == "set":
            self.strike()
        super().set(key, value, ttl)


class SoftTimeLimit(Exception):
    """As task queues', which a handler of a signal raises."""


def out_of_time(*_: object) -> None:
    raise SoftTimeLimit


def interrupt() -> None:
    raise KeyboardInterrupt


def signalled() -> None:
    signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, out_of_time)
    yield
    signal.signal(signal.SIGUSR1, before)


STRIKES = [(interrupt, KeyboardInterrupt), (signalled, SoftTimeLimit)]


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(("strike", "kind"), STRIKES, ids=["ctrl-c", "time limit"])
@pytest.mark.parametrize("where", ["get", "set", "function"])
def test_what_strikes_from_outside_passes_through(
    where: str, strike: Any, kind: type[BaseException], recording: Recording
) -> None:
    store = Interrupted(where, strike)

    @observed(recording, store)
    def extract(name: str) -> User:
        if store.where == "function":
            strike()
        return User(name=name, age=1)

    with pytest.raises(kind):
        extract("Ada")
    store.where = "nowhere"
    assert extract("Ada") == extract("Ada")
    assert [outcome for outcome, _ in outcomes(recording)[1:]] == ["miss", "hit"]


class Struck(BaseModel):
    """Where validators run, when an entry is written and when it is read, something may strike."""

    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        if name == STRUCK:
            signalled()
        return name


@dataclass
class Argument:
    name: str

    def __getattribute__(self, name: str) -> Any:
        if name == STRUCK:
            signalled()
        return super().__getattribute__(name)


STRUCK: str | None = None


@pytest.mark.usefixtures("alarm")
def test_and_in_arguments_and_models_too(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DictCache()

    @observed(recording, store)
    def extract(argument: Argument) -> Struck:
        return Struck.model_construct(name="Ada")

    ada = Argument("Ada")
    for struck in ("name", "Ada"):  # the key's computation; the model's validation, to write
        monkeypatch.setitem(globals(), "STRUCK", struck)
        with pytest.raises(SoftTimeLimit):
            extract(ada)
        assert store.entries == {}
    monkeypatch.setitem(globals(), "STRUCK", None)
    extract(ada)
    monkeypatch.setitem(globals(), "STRUCK", "Ada")  # and to read
    with pytest.raises(SoftTimeLimit):
        extract(ada)


@pytest.mark.parametrize("failing", ["get", "set", "both"])
def test_a_cache_that_fails_costs_no_call(
    failing: str, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs()
    store = FailingCache(*(["get", "set"] if failing == "both" else [failing]))

    def function(name: str) -> User:
        return runs(name)

    function.__qualname__ = f"failing_{failing}"
    extract = observed(recording, store)(function)
    assert [extract("Ada").age for _ in range(3)] == [1, 2, 3]
    outcome = "miss" if failing == "set" else "error"
    assert {outcome for outcome, _ in outcomes(recording)} == {outcome}
    assert warnings_of(caplog) == [
        f"The cache of failing_{failing}() fails (ConnectionError); calls go on without it."
    ]
    failed = recording.sums("llm_cache.backend.duration", "error.type")
    assert failed["ConnectionError"] == (6 if failing == "both" else 3)


def test_and_so_where_an_async_redis_is_away(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with redis.asyncio.Redis(port=1, **AT_ONCE) as away:

            @observed(recording, away)
            async def asks_nobody(name: str) -> User:
                return User(name=name, age=1)

            for _ in range(2):
                assert await asks_nobody("Ada") == User(name="Ada", age=1)

    asyncio.run(run())
    assert outcomes(recording) == [("error", "backend_unavailable")] * 2
    name = "test_and_so_where_an_async_redis_is_away.<locals>.run.<locals>.asks_nobody"
    assert warnings_of(caplog) == [
        f"The cache of {name}() fails (ConnectionError); calls go on without it."
    ]


@pytest.mark.parametrize("kind", ["diskcache", "redis", "own adapter"])
def test_many_threads(kind: str, store: Any, recording: Recording) -> None:
    runs = Runs()

    @observed(recording, store)
    def extract(name: str) -> User:
        return runs(name)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(extract, [f"name {number % 5}" for number in range(200)]))
    assert {answer.name for answer in answers} == {f"name {number}" for number in range(5)}
    told = recording.sums("llm_cache.requests", "llm_cache.outcome")
    assert told == {"miss": len(runs), "hit": 200 - len(runs)}


def test_a_call_that_is_cancelled_while_it_stores(redis_url: str, recording: Recording) -> None:
    async def run() -> None:
        async with (
            redis.asyncio.Redis.from_url(redis_url, **AT_ONCE) as client,
            redis.asyncio.Redis.from_url(redis_url) as other,
        ):
            await client.flushall()
            has_run = asyncio.Event()

            @observed(recording, client)
            async def extract(name: str) -> User:
                has_run.set()
                return User(name=name, age=1)

            await other.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            task = asyncio.create_task(extract("Ada"))
            await has_run.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await other.execute_command("CLIENT", "UNPAUSE")
            await client.flushall()
            assert await extract("Ada") == await extract("Ada")

    asyncio.run(run())
    assert [outcome for outcome, _ in outcomes(recording)] == ["miss", "miss", "hit"]
    first = recording.spans("create User")[0]
    assert first.attributes["error.type"] == "asyncio.exceptions.CancelledError"


def test_uninstrumented_it_caches_and_says_nothing(recording: Recording) -> None:
    runs = Runs()

    @observed(recording, DictCache())
    def extract(name: str) -> User:
        return runs(name)

    assert uninstrument(extract) is extract
    assert extract("Ada") == extract("Ada")
    assert len(runs) == 1
    assert recording.spans() == []
    assert instrument(extract, name="people", **recording.providers) is extract
    extract("Ada")
    assert recording.span("create User").attributes["llm_cache.name"] == "people"
    assert outcomes(recording) == [("hit", None)]


def test_what_it_was_named_and_where_the_instrumentor_sends(recording: Recording) -> None:
    LLMCacheInstrumentor().instrument(**recording.providers)
    try:

        @instructor_cache(DictCache(), name="people")
        def extract(name: str) -> User:
            return User(name=name, age=1)
    finally:
        LLMCacheInstrumentor().uninstrument()
    extract("Ada")
    assert recording.span("create User").attributes["llm_cache.name"] == "people"
    other = Recording()
    instrument(extract, **other.providers)
    extract("Ada")
    assert other.span("create User").attributes["llm_cache.name"] == "people"


def test_a_store_that_is_observed_too_is_told_once(recording: Recording) -> None:
    store = DictCache()
    instrument(store, **recording.providers)

    @observed(recording, store)
    def extract(name: str) -> User:
        return User(name=name, age=1)

    extract("Ada")
    extract("Ada")
    assert [span.name for span in recording.spans()].count("cache lookup") == 2
    assert recording.sums("llm_cache.backend.duration", "llm_cache.operation") == {
        "get": 2,
        "set": 1,
    }


class People:
    """Its functions as methods of every kind."""

    runs = Runs()
    cache = DictCache()

    @staticmethod
    @instructor_cache(cache)
    def static(name: str) -> User:
        return People.runs(name)

    @classmethod
    @instructor_cache(cache)
    def of_class(cls, name: str) -> User:
        return People.runs(f"{cls.__name__} {name}")

    @instructor_cache(cache)
    def plain(self, name: str) -> User:
        return People.runs(name)


class Friends(People):
    pass


@dataclass(frozen=True)
class Place:
    country: str

    @instructor_cache(People.cache)
    def who(self, name: str) -> User:
        return People.runs(f"{name} of {self.country}")


@pytest.fixture
def methods(recording: Recording) -> Iterator[None]:
    People.runs.asked.clear()
    People.cache.entries.clear()
    functions = [People.static, People.of_class.__func__, People.plain, Place.who]
    for function in functions:
        instrument(function, **recording.providers)
    yield
    for function in functions:
        uninstrument(function)


@pytest.mark.usefixtures("methods")
def test_methods(recording: Recording, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        People.static("Ada")
        People().static("Ada")
        People.of_class("Ada")
        Friends.of_class("Ada")
        Place("Chile").who("Ada")
        Place("Peru").who("Ada")
    assert People.runs.asked == [
        *("Ada", "People Ada", "Friends Ada", "Ada of Chile", "Ada of Peru")
    ]
    for _ in range(2):
        People().plain("Ada")
    assert len(People.runs) == 7
    span = recording.spans("create User")[-1]
    assert span.attributes["llm_cache.bypass.part"] == "argument.self"
    (warning,) = warnings_of(caplog)
    assert warning.startswith("Calls of People.plain() are not cached: its argument 'self' can't")


def test_under_functools_cache(recording: Recording) -> None:
    runs = Runs()

    @functools.cache
    @instructor_cache(DictCache())
    def extract(name: str) -> User:
        return runs(name)

    instrument(extract.__wrapped__, **recording.providers)
    extract = instrument(extract, **recording.providers)
    assert extract("Ada") is extract("Ada")
    assert (len(runs), extract.cache_info().hits) == (1, 1)
    extract.cache_clear()
    assert extract("Ada").age == 1
    assert len(runs) == 1
    told = recording.sums("llm_cache.requests", "llm_cache.backend")
    assert told == {"function": 3, "DictCache": 2}


def test_a_function_that_calls_itself(recording: Recording) -> None:
    asked: list[int] = []

    @observed(recording, DictCache())
    def ancestor(generation: int) -> User:
        asked.append(generation)
        return User(name="Ada", age=ancestor(generation - 1).age + 25 if generation else 36)

    assert ancestor(3).age == ancestor(3).age == 111
    assert asked == [3, 2, 1, 0]
    assert ancestor(2).age == 86
    assert [outcome for outcome, _ in outcomes(recording)] == [*["miss"] * 4, "hit", "hit"]


def test_a_call_of_itself_that_is_not_observed_is_no_part_of_it(recording: Recording) -> None:
    @observed(recording, DictCache())
    def ancestor(generation: int) -> User:
        if generation:
            with suppress_instrumentation():
                ancestor(generation - 1)
        return User(name="Ada", age=generation)

    ancestor(0)
    assert ancestor(1).age == 1
    assert [outcome for outcome, _ in outcomes(recording)] == ["miss", "miss"]


def test_models_and_functions_of_a_function(recording: Recording) -> None:
    """Under `from __future__ import annotations` both are known by text only."""

    class Local(BaseModel):
        text: str

    @observed(recording, DictCache())
    def extract(text: str) -> Local:
        later()
        return Local(text=text)

    def later() -> None: ...

    assert extract("a") == extract("a") == Local(text="a")
    assert outcomes(recording) == [("miss", "new_prompt"), ("hit", None)]


def test_a_decorator_below_it_that_takes_other_arguments(recording: Recording) -> None:
    def with_client(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(object(), *args, **kwargs)

        return wrapper

    @observed(recording, DictCache())
    @with_client
    def extract(client: object, name: str) -> User:
        return User(name=name, age=1)

    assert extract("Ada") == extract("Ada")
    assert extract("Alan").name == "Alan"
    assert [outcome for outcome, _ in outcomes(recording)] == ["miss", "hit", "miss"]


def test_a_function_that_returns_a_coroutine_unawares(caplog: pytest.LogCaptureFixture) -> None:
    async def asynchronous() -> User:
        return User(name="Ada", age=1)

    @instructor_cache(DictCache())
    def extract() -> User:
        return asynchronous()  # type: ignore[return-value]

    assert asyncio.run(uninstrument(extract)()).name == "Ada"
    (warning,) = warnings_of(caplog)
    assert "is not cached: it is a coroutine, and no User" in warning


def test_a_memory_cache_that_is_full(recording: Recording) -> None:
    @observed(recording, AutoCache(maxsize=1))
    def extract(name: str) -> User:
        return User(name=name, age=1)

    for name in ("Ada", "Alan", "Ada"):
        extract(name)
    assert outcomes(recording)[-1] == ("miss", "evicted")


def test_what_an_annotation_is_annotated_with_is_passed_over() -> None:
    def extract(text: str) -> Annotated[User, "the one"]:
        return User(name=text, age=1)

    by_text = extract.__annotations__["return"]
    for annotation in (by_text, Annotated[User, "the one"]):
        extract.__annotations__["return"] = annotation
        cached = uninstrument(instructor_cache(DictCache())(extract))
        assert cached("Ada") == cached("Ada")


@pytest.mark.parametrize("is_hit", [True, False], ids=["hit", "miss"])
def test_ctrl_c_at_any_place_of_ours_ends_the_call_and_nothing_else(
    is_hit: bool, recording: Recording
) -> None:
    store = DictCache()

    @observed(recording, store)
    def extract(name: str) -> User:
        return User(name=name, age=1)

    extract("Ada")
    interrupted, struck, number = 0, True, 0
    while struck:
        number += 1
        interrupt = InterruptAt(number)
        sys.setprofile(interrupt)
        try:
            extract("Ada" if is_hit else f"number {number}")
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.setprofile(None)
        struck = interrupt.struck
        recording.clear()
        extract("Ada")
        told = recording.sums("llm_cache.requests", "llm_cache.outcome")
        assert told == {"hit": 1}, interrupt.where
        assert not is_busy(store), interrupt.where
        assert current_entry.get() is None, interrupt.where
        assert current_spending.get() is None, interrupt.where
    assert interrupted > 50


def test_what_it_is_to_everybody_who_asks() -> None:
    @instructor_cache(DictCache())
    def extract(name: str, *, polite: bool = False) -> User:
        raise NotImplementedError

    @instructor_cache(DictCache())
    async def extract_async(name: str) -> User:
        raise NotImplementedError

    assert inspect.isfunction(extract)
    assert not inspect.iscoroutinefunction(extract)
    assert inspect.iscoroutinefunction(extract_async)
    assert list(inspect.signature(extract).parameters) == ["name", "polite"]
    assert pickle.loads(pickle.dumps(People.static)) is People.static

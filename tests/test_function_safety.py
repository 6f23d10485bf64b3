"""Every function that observes functions and stores fails inside live calls: the program does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import instructor
import openai
import pytest
import redis
import redis.asyncio
from pydantic import BaseModel
from support.caller import request_for
from support.functions import asking
from support.models import DictCache, User
from support.recording import Recording
from support.redis_server import redis_server
from support.sabotage import FUNCTIONS, Broken

from llm_cache_otel import Settings, instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.later import later
from llm_cache_otel.observe import function_cache

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated")  # of redis 8: setex, psetex

WATCHED = (
    *("observe.function", "observe.store", "observe.spending.", "observe.model_source."),
    "observe.step.FunctionSurroundings.",
    *("observe.backend.BackendStep.", "observe.instructor_api.default_model"),
    *("interpret.function_hits.", "interpret.stored_calls.StoredCalls.", "facts.origin."),
    *(f"interpret.bills.Bills.{name}" for name in ("with_origin", "of_origin")),
    *("interpret.bills.Bills._saved_by_function", "interpret.bills._prices_of"),
    *(f"interpret.miss_reason.CacheHistory.{what}" for what in ("used", "cleared")),
    *(f"interpret.miss_reason.CacheHistory._take_{what}" for what in ("used", "cleared")),
    *("interpret.patterns.Patterns._of_function", "interpret.patterns._no_"),
    *("interpret.advice.stale_model", "emit.metrics.Metrics.record_function_hits"),
    *("emit.bill_metrics.BillMetrics.record_spared", "emit.gauges.Inventory.prepare"),
    *(f"reporter.Reporter.{name}" for name in ("function_hits", "ready")),
)
BEFORE_THE_CALL = (
    *("observe.functions.", "observe.function_cache.observed_cache", "observe.stores.no_store"),
    *("observe.function_cache._entry_maker", "observe.function_cache.CachedFunction.__init__"),
    *("observe.function_call.function_target", "observe.function_call._signature"),
    *("observe.function_call.returned_model", "observe.store_function.observed_function"),
    *(
        f"observe.store_methods.StoreMethods.{name}"
        for name in ("__init__", "add", "remove", "_wrap")
    ),
    *("observe.store_methods._places_of", "observe.stores.is_async"),
    *("observe.stores.methods_of", "observe.model_source.StaleModels.__init__"),
    "interpret.stored_calls.StoredCalls.__init__",
)
"""What runs when this is imported, or at the front door."""

AROUND_FORKS = tuple(
    f"observe.function_cache.CachedFunction.{name}" for name in ("pause", "resume", "end")
)
TRUSTED = (
    *(f"observe.store_methods.{name}" for name in ("StoreMethods.get", "operate", "_awaited")),
    *("observe.function_cache._Entry.__init__", "observe.function_cache.CachedFunction.__del__"),
)
"""What the host's own calls of a store pass through, what keeps its answers, and a guard in a finalizer."""

ABSTRACT = "observe.function_call.FunctionCall.lookup"

SABOTAGED = [
    name
    for name in FUNCTIONS
    if name.startswith(WATCHED)
    and not name.startswith((*BEFORE_THE_CALL, *AROUND_FORKS))
    and name not in (*TRUSTED, ABSTRACT)
]

Observe = Callable[..., Any]
MODEL = "gpt-4.1-mini"


@dataclasses.dataclass(frozen=True)
class Place:
    number: int


class Answer(BaseModel):
    text: str


def kept_in(store: Any) -> Callable[[Any], Any]:
    """A decorator as programs have them."""

    def decorate(function: Callable[..., Answer]) -> Any:
        @functools.wraps(function)
        def caching(*args: Any) -> Answer:
            key = f"{function.__name__} {args}"
            found = store.get(key)
            if found is not None:
                return Answer.model_validate_json(found)
            answer = function(*args)
            store.set(key, answer.model_dump_json())
            return answer

        return caching

    return decorate


def kept_in_async(store: Any) -> Callable[[Any], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        async def caching(text: str) -> Answer:
            found = await store.get(text)
            if found is not None:
                return Answer.model_validate_json(found)
            answer = await function(text)
            await store.set(text, answer.model_dump_json(), ex=60)
            return answer

        return caching

    return decorate


def memory_program(provider: SimulatedProvider, observe: Observe) -> Iterator[Any]:
    """Functions behind `functools.cache` and `functools.lru_cache`."""
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    client = observe(instructor.from_openai(sdk))
    other = observe(instructor.from_openai(sdk, model="gpt-4.1"))
    extract = observe(functools.cache(asking(client)))
    for text in ("one?", "one?", "two?", "one?"):
        yield extract(text).model_dump()
    model = MODEL

    def by_closure(text: str) -> Any:
        asked = client.create if text else other.create
        return asked(model=model, response_model=User, messages=[{"role": "user", "content": text}])

    extract = observe(functools.cache(by_closure))
    yield extract("one?").model_dump()
    model = "gpt-4.1"
    for _ in range(3):
        yield extract("one?").model_dump()
    apart = observe(functools.cache(asking(client)), settings=Settings(function_hit_spans=True))
    yield [apart("one?").model_dump() for _ in range(3)]

    def plain(text: Any, *more: Any, places: Any = 1) -> Any:
        if text == "fail":
            raise LookupError("the function's own")
        return text, more, places

    small = observe(functools.lru_cache(maxsize=2, typed=True)(plain))
    arguments: list[Any] = ["a", "b", "c", "a", "a", 1, 1.5, (1, 2), frozenset({1}), Place(1), None]
    for argument in [*arguments, *("abc" * 12), *[f"text {turn % 4}" for turn in range(60)]]:
        yield small(argument)
    for failing in ("fail", []):
        try:
            small(failing)
        except Exception as error:
            yield type(error), str(error)
    yield small("a", "b", places=3)
    yield small.cache_info()
    yield small.cache_clear()
    yield small("a"), small.cache_info(), small.cache_parameters()
    many = observe(functools.cache(plain))
    yield len([many(1) for _ in range(function_cache._MANY + 10)])
    dropped = observe(functools.cache(plain))
    yield [dropped(1) for _ in range(3)]
    none = observe(functools.lru_cache(maxsize=0)(plain))
    yield none([1])
    sdk.close()


def store_program(
    provider: SimulatedProvider, places: list[Any], observe: Observe
) -> Iterator[Any]:
    """Stores by themselves, and functions behind decorators over them."""
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    client = observe(instructor.from_openai(sdk))

    def ask(text: str) -> Answer:
        if text == "fail":
            raise LookupError("the function's own")
        messages = [{"role": "user", "content": text}]
        return Answer(text=client.create(model=MODEL, response_model=User, messages=messages).name)

    adapter = observe(DictCache())
    adapter.set("a", "b", ttl=5)
    yield adapter.get("a")
    asked = request_for("one?") | {"model": MODEL, "cache": adapter}
    yield [client.create(**asked).model_dump() for _ in range(2)]
    for store in places:
        observe(store)
        yield store.set("key", "value")
        store["other"] = "value"
        yield _text(store.get("key")), _text(store["other"]), "key" in store, store.get("nothing")
        try:
            yield store["nothing"]
        except KeyError as error:
            yield str(error)
        extract = observe(kept_in(store)(ask))
        for text in ("one?", "one?", "two?", "é?", "é?"):
            yield extract(text).model_dump()
        store.set("ask ('invalid?',)", "{}")
        for failing in ("invalid?", "fail"):
            try:
                extract(failing)
            except Exception as error:
                yield type(error), str(error)[:60]
        if isinstance(store, redis.Redis):
            yield store.set("ms", "1", px=60_000), store.setex("s", 60, "1")
            yield store.psetex("p", 60_000, "1"), store.getex("s", ex=90)
        else:
            yield store.set("ttl", "1", expire=60)
            yield store.get("key", expire_time=True)
    unstored = observe(lambda text: ask(text))
    yield unstored("one?").model_dump()
    sdk.close()


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


async def async_program(url: str | None, observe: Observe) -> list[Any]:
    if url is None:
        return []
    seen: list[Any] = []
    async with redis.asyncio.Redis.from_url(url) as store:
        observe(store)

        @kept_in_async(store)
        async def ask(text: str) -> Answer:
            await asyncio.sleep(0)
            return Answer(text=text)

        extract = observe(ask)
        seen += [await extract(text) for text in ("x", "x", "y")]
        seen.append(await asyncio.gather(store.get("x"), store.get("nothing")))
    return [str(each) for each in seen]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(redis_server(tmp_path_factory.mktemp("redis")))


Run = Callable[[Observe], list[Any]]


@pytest.fixture(scope="module")
def run(
    simulated_provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory, url: str
) -> Run:
    """Everything, from empty stores on, in a context of its own: what is broken may leave it wrong."""

    def program(observe: Observe) -> list[Any]:
        directory: Path = tmp_path_factory.mktemp("stores")
        seen = list(memory_program(simulated_provider, observe))
        with (
            diskcache.Cache(str(directory / "one")) as disk,
            diskcache.FanoutCache(str(directory / "several"), shards=2) as fanout,
            redis.Redis.from_url(url) as server,
        ):
            server.flushall()
            seen += store_program(simulated_provider, [disk, fanout, server], observe)
            server.flushall()
            seen += asyncio.run(async_program(url, observe))
        return seen

    return lambda observe: contextvars.copy_context().run(program, observe)


@pytest.fixture(scope="module")
def without_us(run: Run) -> list[Any]:
    return run(lambda target, **_: target)


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    recording: Recording,
    run: Run,
    without_us: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.CRITICAL)
    sabotage, kept = Broken(FUNCTIONS[name]), list[Any]()

    def observe(target: Any, **more: Any) -> Any:
        sabotage.stop()
        observed = instrument(target, **recording.providers, **more)
        sabotage.start()
        kept.append(observed)
        return observed

    errors = ("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
    try:
        seen = run(observe)
        later.wait(5)
        counted = recording.sums(*errors)  # a collection, with the function still broken
        kept.clear()
        gc.collect()
        later.wait(5)
        counted = counted or recording.sums(*errors)
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    assert counted or recording.sums(*errors), f"nobody counted that {name} failed"


def test_and_nothing_fails_by_itself(run: Run, without_us: list[Any]) -> None:
    recording = Recording()
    seen = run(lambda target, **more: instrument(target, **recording.providers, **more))
    gc.collect()
    later.wait(5)
    assert seen == without_us
    assert not recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
    recording.tracer_provider.shutdown()
    recording.meter_provider.shutdown()


def test_what_is_left_out_exists() -> None:
    """So that the lists above can't go stale."""
    assert set(FUNCTIONS) >= {*TRUSTED, *AROUND_FORKS, ABSTRACT}
    for prefix in (*WATCHED, *BEFORE_THE_CALL):
        assert any(name.startswith(prefix) for name in FUNCTIONS), prefix

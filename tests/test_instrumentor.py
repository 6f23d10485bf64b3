"""`LLMCacheInstrumentor`: every client, without a line of the program changed."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import logging
import pkgutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from support.clients import MAKERS, close, create, make, request_for
from support.models import DictCache, FailingCache
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.versions import namespace
from support.ways import WAYS, call, closing, make_client, mode_for

from llm_cache_otel import Settings, instrument, instrumentor, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
from llm_cache_otel.later import later
from llm_cache_otel.observe import seams

OUTCOMES = ("llm_cache.requests", "llm_cache.outcome")


@pytest.fixture
def observe(recording: Recording) -> Iterator[Callable[..., None]]:
    """Starts observing every client; at the end of the test nothing is observed any more."""
    instrumentor = LLMCacheInstrumentor()
    yield lambda **kwargs: instrumentor.instrument(**recording.providers, **kwargs)
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


async def twice(client: Any, way: str) -> None:
    async with closing(client):
        for _ in range(2):
            await call(client, way)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
def test_it_tells_what_instrumenting_the_client_tells(
    way: str,
    asynchronous: bool,
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
) -> None:
    made = functools.partial(make_client, provider, asynchronous=asynchronous, mode=mode_for(way))
    told = []
    provider.cues.default = Cue(delay=0.05)  # so that a hit saves time, every time
    given = instrument(made(cache=AutoCache()), **recording.providers)
    before, after = made(cache=AutoCache()), None
    for client in (given, before, after):
        if client is before:
            observe()
        asyncio.run(twice(client or made(cache=AutoCache()), way))
        later.wait(5)
        told.append((recording.tree(), recording.points(gauges=False)))
        recording.clear()
    uninstrument(given)
    by_hand, made_before, made_after = told
    assert by_hand[0], "nothing was told"
    assert made_before == by_hand
    assert made_after == by_hand


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_client_counts_once_whatever_else_is_done(
    kind: str,
    asynchronous: bool,
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
) -> None:
    observe()
    client = make(kind, provider, asynchronous=asynchronous)

    async def run() -> None:
        request = functools.partial(request_for, kind, AutoCache())
        await create(client, **request())
        instrument(client, name="given", **recording.providers)
        await create(client, **request())
        uninstrument(client)
        await create(client, **request())
        await close(client)

    asyncio.run(run())
    names = [span.attributes.get("llm_cache.name") for span in recording.spans("create User")]
    assert names == [None, "given", None]


def test_any_number_of_times(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    client = make_client(provider, cache=AutoCache())
    request = request_for("from_openai")
    for _ in range(3):
        observe()
        observe()
        client.create(**request)
        LLMCacheInstrumentor().uninstrument()
        LLMCacheInstrumentor().uninstrument()
        client.create(**request)
    client.client.close()
    assert recording.sums(*OUTCOMES) == {"miss": 1, "hit": 2}


def test_what_was_given_to_instrument_stays_observed(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    client = instrument(make_client(provider), name="given", **recording.providers)
    observe()
    LLMCacheInstrumentor().uninstrument()
    client.create(**request_for("from_openai"))
    client.client.close()
    assert recording.span("create User").attributes["llm_cache.name"] == "given"
    uninstrument(client)


def everything_of_instructor() -> dict[tuple[str, str], Any]:
    """Every attribute of every module and class that Instructor and the OpenAI SDK have loaded.

    But for modules: what was not imported before may be now, and that is nobody's change.
    """
    found: dict[tuple[str, str], Any] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] not in ("instructor", "openai") or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            if not isinstance(value, ModuleType):
                found[name, attribute] = value
            if isinstance(value, type) and value.__module__.split(".")[0] == "instructor":
                for member, what in list(vars(value).items()):
                    found[f"{name}.{attribute}", member] = what
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_differs_afterwards(
    kind: str, provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    for info in pkgutil.iter_modules(instructor.__path__, "instructor."):
        if info.name.rpartition(".")[2] in ("core", "cache", "dsl", "v2"):
            importlib.import_module(info.name)
    bare = make(kind, provider)
    asyncio.run(create(bare, **request_for(kind)))  # whatever is imported for it is imported now
    gc.collect()
    observe()  # and lets go of what clients of other tests left behind
    LLMCacheInstrumentor().uninstrument()
    before = everything_of_instructor()
    observe()
    client = make(kind, provider)
    asyncio.run(create(client, **request_for(kind, AutoCache())))
    LLMCacheInstrumentor().uninstrument()
    after = everything_of_instructor()
    assert before.keys() <= after.keys()
    assert [where for where, value in before.items() if after[where] is not value] == []
    known = {module for module, _ in before}
    assert [where for where in after.keys() - before.keys() if where[0] in known] == []
    if isinstance(client, instructor.Instructor):
        holders = [(client, bare)]
        assert type(client.create_fn) is type(bare.create_fn)
    else:
        holders = [(client.chat.completions, bare.chat.completions)]
        assert type(client.chat.completions.create) is type(bare.chat.completions.create)
    for ours, theirs in holders:
        assert vars(ours).keys() == vars(theirs).keys()
        assert all(type(vars(ours)[name]) is type(vars(theirs)[name]) for name in vars(theirs))
    recording.clear()
    asyncio.run(create(client, **request_for(kind, AutoCache())))
    assert recording.spans() == []
    for each in (client, bare):
        asyncio.run(close(each))


def test_a_function_that_was_kept_is_not_watched_afterwards(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    observe()
    client = make_client(provider)
    kept = client.create_fn
    patched = instructor.patch(create=client.client.chat.completions.create)
    kept(**request_for("from_openai"))
    patched(**request_for("from_openai"))
    assert len(recording.spans("create User")) == 2
    LLMCacheInstrumentor().uninstrument()
    for function in (kept, patched):
        assert function(**request_for("from_openai")).name
    assert len(recording.spans("create User")) == 2
    client.client.close()


def test_patched_twice_counts_once(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    observe()
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    function = instructor.patch(create=instructor.patch(create=sdk.chat.completions.create))
    client = instructor.patch(instructor.patch(sdk))
    for create_ in (function, client.chat.completions.create):
        create_(**{**request_for("from_openai"), "response_model": None})
        assert recording.sums(*OUTCOMES) == {"off": 1}
    LLMCacheInstrumentor().uninstrument()
    assert inspect.isfunction(client.chat.completions.create)
    assert type(client.chat.completions.create) is type(lambda: None)
    sdk.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tracer_provider": "otlp"}, "tracer_provider"),
        ({"meter_provider": TracerProvider}, "meter_provider"),
        ({"settings": {"exit_timeout": 1}}, "settings"),
        ({"inference_spans": "never"}, "inference_spans"),
        ({"name": "extraction"}, "name"),
    ],
)
def test_a_bad_argument_is_named_and_leaves_nothing_behind(
    arguments: dict[str, Any], says: str
) -> None:
    instrumentor, on_class = LLMCacheInstrumentor(), dict(vars(instructor.Instructor))
    with pytest.raises(TypeError, match=says):
        instrumentor.instrument(**arguments)
    assert not instrumentor.is_instrumented_by_opentelemetry
    assert dict(vars(instructor.Instructor)) == on_class


def test_settings_are_taken(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    observe(settings=Settings(digest_salt="fleet", inference_spans="never"))
    client = make_client(provider, cache=AutoCache(), **namespace("fleet"))
    client.create(**request_for("from_openai"))
    client.client.close()
    digest = recording.span("create User").attributes["llm_cache.key.digest"]
    LLMCacheInstrumentor().uninstrument()
    assert [span.name for span in recording.spans()] == [
        "cache lookup",
        "cache store",
        "create User",
    ]
    recording.clear()
    again = make_client(provider, cache=AutoCache(), **namespace("fleet"))
    instrument(again, settings=Settings(digest_salt="fleet"), **recording.providers)
    again.create(**request_for("from_openai"))
    again.client.close()
    assert recording.span("create User").attributes["llm_cache.key.digest"] == digest


@pytest.mark.parametrize("by_hand", [False, True], ids=["zero-code", "by hand"])
def test_suppressed_means_neither_spans_nor_counts(
    by_hand: bool, provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    client = make_client(provider, cache=AutoCache())
    if by_hand:
        instrument(client, **recording.providers)
    else:
        observe()
    request = request_for("from_openai")
    with suppress_instrumentation():
        for _ in range(2):
            assert client.create(**request).name
        with pytest.raises(ConnectionError):
            client.create(**request, cache=FailingCache("get"))
        assert list(client.create_iterable(**request))
    assert recording.spans() == []
    assert recording.points() == []
    client.create(**request)
    client.client.close()
    assert recording.sums(*OUTCOMES) == {"hit": 1}
    uninstrument(client)


def test_nor_of_a_cache_by_itself(recording: Recording) -> None:
    cache = instrument(DictCache(), **recording.providers)
    with suppress_instrumentation():
        cache.set("key", "value")
        assert cache.get("key") == "value"
    assert recording.spans() == []
    assert recording.points() == []
    assert cache.get("key") == "value"
    assert len(recording.spans()) == 1
    uninstrument(cache)


class Service:
    client: Any = None


def _replace_create_fn(client: Any) -> None:
    inner = client.create_fn

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    client.create_fn = wrapper


def _replace_and_put_back(client: Any) -> None:
    kept = client.create_fn
    client.create_fn = lambda *args, **kwargs: None
    assert client.create(**request_for("from_openai")) is None
    client.create_fn = kept


def _mock(client: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "create_fn", lambda *args, **kwargs: None)
        assert client.create(**request_for("from_openai")) is None


def _replace_hooks(client: Any) -> None:
    client.hooks = type(client.hooks)()
    client.on("parse:error", lambda error: None)


def _clear(client: Any) -> None:
    client.on("completion:kwargs", lambda *args, **kwargs: None)
    client.clear()


@pytest.mark.parametrize("by_hand", [False, True], ids=["zero-code", "by hand"])
@pytest.mark.parametrize(
    ("change", "stubbed"),
    [
        (_replace_create_fn, 0),
        (_replace_and_put_back, 1),
        (_mock, 1),
        (_replace_hooks, 0),
        (_clear, 0),
        (lambda client: setattr(Service, "client", client), 0),
    ],
    ids=["wrapped", "put back", "mocked", "hooks", "clear", "class attribute"],
)
def test_whatever_is_done_to_a_client_it_is_observed_still_and_once(
    change: Callable[[Any], None],
    stubbed: int,
    by_hand: bool,
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
) -> None:
    client = make_client(provider)
    if by_hand:
        instrument(client, **recording.providers)
    else:
        observe()
    change(client)
    extraction = functools.partial(client.create, **request_for("from_openai", AutoCache()))
    assert extraction().name
    assert extraction().name
    # A stub is a call of a client that was given to us, and else nobody's business.
    stubs = {"off": stubbed} if stubbed and by_hand else {}
    assert recording.sums(*OUTCOMES) == {"miss": 1, "hit": 1, **stubs}
    client.client.close()
    uninstrument(client)


class Own(instructor.Instructor):
    """A client whose class keeps the function in a place of its own."""

    @property
    def create_fn(self) -> Any:
        return vars(self)["own"]

    @create_fn.setter
    def create_fn(self, create: Any) -> None:
        vars(self)["own"] = create


def test_a_class_with_a_create_fn_of_its_own_is_left_alone_and_named(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    client = Own(client=sdk, create=instructor.patch(create=sdk.chat.completions.create))
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        assert instrument(client, **recording.providers) is client
    assert "can't be observed" in caplog.text
    assert client.create(**request_for("from_openai")).name
    assert uninstrument(client) is client
    sdk.close()


@pytest.mark.parametrize("report_fails", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("patched", [False, True], ids=["own class", "patched before"])
def test_what_can_not_be_found_is_named_once(
    patched: bool,
    asynchronous: bool,
    report_fails: bool,
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seams, "UNDER_WAY", 0.0)
    sdk_class = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    sdk = sdk_class(base_url=provider.openai_url, api_key="k", max_retries=0)
    function = instructor.patch(create=sdk.chat.completions.create)
    own = Own(client=sdk, create=function)
    observe()

    async def run() -> None:
        for _ in range(2):
            answer = (function if patched else own.create_fn)(**request_for("from_openai"))
            assert (await answer if asynchronous else answer).name
        with suppress_instrumentation():
            suppressed = make_client(provider, asynchronous=asynchronous)
            async with closing(suppressed):
                answer = suppressed.create(**request_for("from_openai"))
                assert (await answer if asynchronous else answer).name
        await close(own)

    sabotage = Broken(FUNCTIONS["reporter.Reporter.missed_call"])
    if report_fails:
        sabotage.start()
    try:
        with caplog.at_level(logging.WARNING, "llm_cache_otel"):
            asyncio.run(run())
    finally:
        sabotage.stop()
    assert caplog.text.count("went by unobserved") == (0 if report_fails else 1)
    errors = recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
    assert bool(errors) == report_fails == bool(sabotage.runs)
    assert recording.spans() == []


def test_what_another_thread_is_importing_is_waited_for(
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python gives one of two threads that wait for each other's imports a module that is half made."""
    tried = []

    def instrument_all(**kwargs: Any) -> None:
        tried.append(threading.current_thread())
        if len(tried) == 1:
            raise ImportError("half made")
        original(**kwargs)

    original = instrumentor.instrument_all
    monkeypatch.setattr(instrumentor, "instrument_all", instrument_all)
    observe()
    while len(tried) < 2 or tried[1].is_alive():
        time.sleep(0.01)
    client = make("from_openai", provider)
    client.create(**request_for("from_openai"))
    assert recording.sums(*OUTCOMES) == {"off": 1}
    client.client.close()


def test_a_call_that_is_under_way_is_not_missed(
    provider: SimulatedProvider,
    recording: Recording,
    observe: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Switching(DictCache):
        def get(self, key: str) -> Any:
            observe()
            return super().get(key)

    client = make("from_openai", provider)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        client.create(**request_for("from_openai", Switching()))
        client.create(**request_for("from_openai"))
    assert caplog.text == ""
    assert recording.sums(*OUTCOMES) == {"off": 1}
    client.client.close()


def test_what_was_handed_out_is_observed_on_when_its_client_is_given_too(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    observe()
    client = make("from_openai", provider)
    kept = client.create_fn
    by_name = ("llm_cache.requests", "llm_cache.name")
    kept(**request_for("from_openai"))
    instrument(client, name="given", **recording.providers)
    kept(**request_for("from_openai"))
    client.create_fn = client.create_fn
    kept(**request_for("from_openai"))
    assert recording.sums(*by_name) == {None: 1, "given": 2}
    uninstrument(client)
    kept(**request_for("from_openai"))
    client.create(**request_for("from_openai"))
    assert recording.sums(*by_name) == {None: 2}
    LLMCacheInstrumentor().uninstrument()
    kept(**request_for("from_openai"))
    assert recording.sums(*by_name) == {}
    client.client.close()


def test_no_client_is_kept_alive(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    observe()
    references = []
    for kind in ("from_openai", "instructor.patch(client)"):
        client = make(kind, provider)
        asyncio.run(create(client, **request_for(kind)))
        asyncio.run(close(client))
        references.append(weakref.ref(client))
    del client
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_switched_on_and_off_while_threads_call(
    provider: SimulatedProvider, recording: Recording, observe: Callable[..., None]
) -> None:
    clients = [make_client(provider, cache=AutoCache()) for _ in range(4)]
    done, failures, answers = threading.Event(), [], []

    def work(client: Any) -> None:
        while not done.is_set():
            try:
                answers.append(client.create(**request_for("from_openai")).name)
                make_client(provider).client.close()
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for _ in range(50):
        observe()
        LLMCacheInstrumentor().uninstrument()
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert answers
    recording.clear()
    for client in clients:
        client.create(**request_for("from_openai"))
        client.client.close()
    assert recording.spans() == []

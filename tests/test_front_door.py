"""What `instrument` and `uninstrument` take, refuse, leave alone and put back."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import logging
import os
import pickle
import subprocess
import sys
import weakref
from types import MethodType
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from support.clients import MAKERS, close, create, make, request_for
from support.models import DictCache, DuckCache, User
from support.recording import Recording
from support.versions import namespace, patched_places

from llm_cache_otel import Settings, flush, instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider


def closed(kind: str, provider: SimulatedProvider, **kwargs: Any) -> Any:
    """A client that makes no calls in this test, its connections closed."""
    client = make(kind, provider, **kwargs)
    asyncio.run(close(client))
    return client


@pytest.mark.parametrize(
    "target",
    [
        None,
        3,
        "client",
        object(),
        instructor.Instructor,
        AutoCache,
        DuckCache(),
        print,
        [],
        functools.partial(print),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
@pytest.mark.parametrize("door", [instrument, uninstrument])
def test_anything_else_is_refused_with_what_is_accepted(door: Any, target: object) -> None:
    with pytest.raises(TypeError) as refused:
        door(target)
    message = str(refused.value)
    assert f"{door.__name__}() was given" in message
    for accepted in (
        "an Instructor client",
        "OpenAI, AzureOpenAI, Anthropic, genai.Client",
        "instructor.patch(client)",
        "instructor.cache.BaseCache",
    ):
        assert accepted in message


def test_a_method_of_a_client_is_not_taken_for_a_function_of_the_programs_own() -> None:
    sdk = openai.OpenAI(api_key="k")
    for method in (instructor.from_openai(sdk).create, sdk.chat.completions.create):
        with pytest.raises(TypeError, match=r"instrument\(client\), not client\.create"):
            instrument(method)
    sdk.close()


def test_a_clients_own_method_may_be_a_function_that_caches(provider: SimulatedProvider) -> None:
    class Shop(instructor.Instructor):
        def price(self, article: str) -> str:
            return article

    shop = Shop(client=None, create=print)
    assert instrument(shop.price)("bread") == "bread"
    with pytest.raises(TypeError, match="was given method"):
        instrument(MethodType(functools.partial(print), shop))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"tracer_provider": "otlp"}, TypeError, "tracer_provider"),
        ({"meter_provider": object()}, TypeError, "meter_provider"),
        ({"tracer_provider": int}, TypeError, "tracer_provider"),
        ({"name": 3}, TypeError, "name"),
        ({"name": " "}, ValueError, "name"),
        ({"settings": {"exit_timeout": 1}}, TypeError, "settings"),
    ],
)
def test_a_bad_argument_is_named(arguments: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=rf"instrument\({says}="):
        instrument(AutoCache(), **arguments)


@pytest.mark.parametrize("timeout", [0, -1, "5", True, None, float("nan")])
def test_flush_refuses_a_timeout_that_is_none(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        flush(timeout)


FLUSH_AT_ANY_TIME = """
import functools, signal, sys
import llm_cache_otel

def flush(*_):
    told.append(llm_cache_otel.flush(1))

told = []
flush()
assert "llm_cache_otel.reporter" not in sys.modules, "it brings nothing"
import llm_cache_otel.observe.doors
signal.signal(signal.SIGALRM, flush)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)  # amid the imports of the first instrument()
llm_cache_otel.instrument(functools.cache(lambda: 1))
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(told) > 2, set(told))
"""


def test_flush_brings_nothing_and_waits_for_no_import() -> None:
    variables = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    ended = subprocess.run(
        [sys.executable, "-c", FLUSH_AT_ANY_TIME],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "True {True}\n", ended.stderr


@pytest.mark.parametrize("kind", MAKERS)
def test_the_same_object_comes_back_and_twice_is_once(
    kind: str, provider: SimulatedProvider, recording: Recording
) -> None:
    client = make(kind, provider)
    assert instrument(client, **recording.providers) is client
    assert instrument(client) is client

    async def run() -> None:
        await create(client, **request_for(kind))
        await close(client)

    asyncio.run(run())
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"off": 1}
    assert len(recording.spans("create User")) == 1


def test_a_second_time_with_other_arguments_says_that_the_first_holds(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    cache = instrument(DictCache(), name="first", **recording.providers)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        instrument(cache, name="second")
    assert "what it was told the first time still holds" in caplog.text
    cache.get("key")
    assert recording.span("cache lookup").attributes["llm_cache.name"] == "first"


@pytest.mark.parametrize("kind", MAKERS)
def test_uninstrument_puts_everything_back(
    kind: str, provider: SimulatedProvider, recording: Recording
) -> None:
    client = closed(kind, provider)
    gc.collect()
    uninstrument(instrument(client, **recording.providers))  # and what other tests' clients left
    holder = client if isinstance(client, instructor.Instructor) else client.chat.completions
    before, on_class = dict(vars(holder)), dict(vars(instructor.Instructor))
    functions = [getattr(module, name) for module, name in patched_places()]
    instrument(client, **recording.providers)
    changed = [name for name, value in vars(holder).items() if value is not before.get(name)]
    assert changed == ([] if holder is client else ["create"])
    assert "create_fn" in vars(instructor.Instructor) or holder is not client
    assert uninstrument(client) is client
    assert vars(holder).keys() == before.keys()
    assert all(vars(holder)[name] is value for name, value in before.items())
    assert dict(vars(instructor.Instructor)) == on_class
    assert [getattr(module, name) for module, name in patched_places()] == functions
    assert uninstrument(client) is client, "twice is the same as once"


def test_what_others_wrapped_around_ours_stays_and_ours_passes_through(
    provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(make("from_openai", provider), **recording.providers)
    ours, calls = client.create_fn, []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return ours(*args, **kwargs)

    client.create_fn = theirs
    client.create(**request_for("from_openai"))
    assert len(recording.spans("create User")) == 1
    uninstrument(client)
    client.create(**request_for("from_openai"))
    assert client.create_fn is theirs
    assert len(calls) == 2
    client.client.close()


def test_a_client_is_not_kept_alive(provider: SimulatedProvider, recording: Recording) -> None:
    client = instrument(closed("from_openai", provider), **recording.providers)
    cache = instrument(AutoCache(), **recording.providers)
    references = weakref.ref(client), weakref.ref(cache)
    del client, cache
    gc.collect()
    assert [reference() for reference in references] == [None, None]


# A half-copied httpx client, the openai SDK's own, complains when it is dropped.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", MAKERS)
def test_the_client_looks_the_same_and_cannot_do_more(
    kind: str, provider: SimulatedProvider, recording: Recording
) -> None:
    bare, observed = closed(kind, provider), closed(kind, provider)
    instrument(observed, **recording.providers)
    assert type(observed) is type(bare)
    function_of = lambda client: (  # noqa: E731
        client.create_fn
        if isinstance(client, instructor.Instructor)
        else client.chat.completions.create
    )
    ours, theirs = function_of(observed), function_of(bare)
    for asked in (
        inspect.iscoroutinefunction,
        inspect.isfunction,
        inspect.signature,
        inspect.getdoc,
    ):
        assert asked(ours) == asked(theirs)
    for name in ("__name__", "__qualname__", "__module__"):
        assert getattr(ours, name) == getattr(theirs, name)
    for cannot in (copy.copy, copy.deepcopy, pickle.dumps):
        assert _fate(cannot, observed) == _fate(cannot, bare)


def _fate(function: Any, argument: Any) -> type:
    try:
        return type(function(argument))
    except Exception as error:
        return type(error)


def test_a_client_made_before_and_one_made_after_are_both_seen(
    provider: SimulatedProvider, recording: Recording
) -> None:
    before = make("from_openai", provider)
    first = instrument(make("from_openai", provider), **recording.providers)
    after = make("from_openai", provider)
    for client in (before, after):
        instrument(client, **recording.providers)
    for client in (before, first, after):
        client.create(**request_for("from_openai", AutoCache()))
        client.client.close()
    assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"miss": 3}


def test_settings_refuse_what_is_out_of_range_and_warn_of_a_bad_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for bad in (-1, "soon", float("inf"), True, 4000):
        with pytest.raises(ValueError, match="exit_timeout"):
            Settings(exit_timeout=bad)
    for bad in ("", 3):
        with pytest.raises(ValueError, match="digest_salt"):
            Settings(digest_salt=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"inference_spans.*'auto', .* got 'sometimes'"):
        Settings(inference_spans="sometimes")
    monkeypatch.setenv("LLM_CACHE_OTEL_EXIT_TIMEOUT", "soon")
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        assert Settings().exit_timeout == 2.0
    assert "LLM_CACHE_OTEL_EXIT_TIMEOUT must be" in caplog.text
    assert "got 'soon'. Using the default, 2.0." in caplog.text
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        monkeypatch.setenv("LLM_CACHE_OTEL_DIGEST_SALT", "\udcff")
        Settings()
    assert "LLM_CACHE_OTEL_DIGEST_SALT must be" in caplog.text
    assert "udcff" not in caplog.text
    monkeypatch.setenv("LLM_CACHE_OTEL_EXIT_TIMEOUT", "0.5")
    monkeypatch.setenv("LLM_CACHE_OTEL_DIGEST_SALT", "fleet")
    assert Settings() == Settings(exit_timeout=0.5, digest_salt="fleet")
    assert Settings(exit_timeout=1).exit_timeout == 1.0
    assert "fleet" not in repr(Settings())


def test_a_common_salt_makes_digests_comparable(
    provider: SimulatedProvider, recording: Recording
) -> None:
    digests = []
    for salt in ("one", "one", "two"):
        client = make("from_openai", provider, cache=AutoCache(), **namespace("shared"))
        instrument(client, settings=Settings(digest_salt=salt), **recording.providers)
        client.create(**request_for("from_openai"))
        client.client.close()
        digests.append(recording.span("create User").attributes["llm_cache.key.digest"])
        recording.clear()
    assert digests[0] == digests[1] != digests[2]
    assert all(len(digest) == 16 for digest in digests)
    assert User.__name__ == "User"


def test_a_provider_that_fails_costs_its_signal_only(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenProvider:
        def get_tracer(self, *args: Any) -> Any:
            raise RuntimeError("secret")

    broken: Any = BrokenProvider()
    client = make("from_openai", provider)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        observed = instrument(
            client, tracer_provider=broken, meter_provider=recording.meter_provider
        )
        assert observed is client
        for _ in range(2):
            assert client.create(**request_for("from_openai")).name
    client.client.close()
    assert caplog.text.count("can't export traces (RuntimeError)") == 1
    assert "secret" not in caplog.text
    assert recording.spans() == []
    assert sum(recording.sums("llm_cache.requests", "llm_cache.outcome").values()) == 2

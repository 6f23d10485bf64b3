"""Functions behind decorators over diskcache and Redis: requests, keys, reasons, dollars."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pydantic
import pytest
import redis
import redis.asyncio
from instructor.cache import BaseCache
from support.decorators import stored_in, stored_in_async
from support.functions import REASON, asking, requests, sums
from support.models import User
from support.recording import Recording
from support.redis_server import redis_server
from support.versions import namespace
from support.ways import make_client

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.emit.spans import Spans


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, recording: Recording) -> Iterator[Any]:
    if request.param == "disk":
        with diskcache.Cache(str(tmp_path)) as made:
            yield instrument(made, **recording.providers)
    else:
        with redis.Redis.from_url(request.getfixturevalue("url")) as made:
            made.flushall()
            yield instrument(made, **recording.providers)


@pytest.fixture
def client(provider: SimulatedProvider, recording: Recording) -> Iterator[Any]:
    client = instrument(make_client(provider), **recording.providers)
    yield client
    client.client.close()


def creates(recording: Recording) -> list[dict[str, Any]]:
    """Attributes of the function's calls since the last time, and not of the client's."""
    spans = [dict(span.attributes or {}) for span in recording.spans("create User")]
    recording.exporter.clear()
    return [each for each in spans if "llm_cache.backend" in each]


def backend_of(store: Any) -> str:
    return "redis" if isinstance(store, redis.Redis) else "disk"


def test_a_miss_and_hits(store: Any, client: Any, recording: Recording) -> None:
    observed = instrument(stored_in(store)(asking(client)), **recording.providers)
    first = observed("Who is Ada?")
    assert observed("Who is Ada?").model_dump() == first.model_dump()
    miss, hit = creates(recording)
    assert (miss["llm_cache.outcome"], hit["llm_cache.outcome"]) == ("miss", "hit")
    assert miss["llm_cache.backend"] == backend_of(store)
    assert miss["llm_cache.key.digest"] == hit["llm_cache.key.digest"]
    assert hit["gen_ai.request.model"] == "gpt-4.1-mini"
    assert hit["gen_ai.provider.name"] == "openai"
    for each in (miss, hit):
        assert each["llm_cache.key.duration"] >= 0
    found = sums(recording)
    assert found["llm_cache.requests"] == 3  # and the client's own, without a cache
    assert found["response llm_cache.saved.cost"] == pytest.approx(found["llm_cache.spent.cost"])


def test_its_spans_are_one_trace(store: Any, client: Any, recording: Recording) -> None:
    observed = instrument(stored_in(store)(asking(client)), **recording.providers)
    observed("Who is Ada?")
    names = {span.context.span_id: span.name for span in recording.spans()}
    parents = {span.name: span.parent and names[span.parent.span_id] for span in recording.spans()}
    assert parents["cache lookup"] == parents["cache store"] == "create User"
    assert parents["chat gpt-4.1-mini"] == "create User"
    assert len(recording.spans("create User")) == 2


def test_the_key_is_timed_from_the_functions_entry(recording: Recording, tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)

        def slow_key(text: str) -> str | None:
            time.sleep(0.05)
            store.get(text)
            time.sleep(0.2)
            return None

        instrument(slow_key, **recording.providers)("x")
    (span,) = recording.spans("create slow_key")
    whole = (span.end_time - span.start_time) / 1e9
    assert 0.05 <= span.attributes["llm_cache.key.duration"] <= whole - 0.2


def test_to_all_who_ask_it_is_the_function(store: Any, client: Any, recording: Recording) -> None:
    bare = stored_in(store)(asking(client))
    observed = instrument(bare, **recording.providers)
    assert inspect.signature(observed) == inspect.signature(bare)
    assert observed.__name__ == "extract"
    assert observed.__wrapped__ is bare
    assert copy.copy(observed) is observed
    assert instrument(observed) is observed
    assert uninstrument(observed) is observed
    observed("Who is Ada?")
    assert not creates(recording)


async def async_answers(url: str, client: Any, recording: Recording) -> list[User]:
    async with redis.asyncio.Redis.from_url(url) as store:
        await store.flushall()
        instrument(store, **recording.providers)

        @functools.partial(instrument, **recording.providers)
        @stored_in_async(store, ex=60)
        async def extract(text: str) -> User:
            messages = [{"role": "user", "content": text}]
            found: User = await client.create(
                model="gpt-4.1-mini", response_model=User, messages=messages
            )
            return found

        assert inspect.iscoroutinefunction(extract)
        return [
            await extract("one?"),
            *await asyncio.gather(extract("one?"), extract("two?"), extract("one?")),
        ]


def test_async(url: str, provider: SimulatedProvider, recording: Recording) -> None:
    async def main() -> None:
        client = instrument(make_client(provider, asynchronous=True), **recording.providers)
        answers = await async_answers(url, client, recording)
        first, again, _, last = (answer.model_dump() for answer in answers)
        assert first == again == last
        await client.client.close()

    asyncio.run(main())
    assert requests(recording, backend="redis") == {"miss": 2, "hit": 2}


def test_an_entry_that_expired(store: Any, client: Any, recording: Recording) -> None:
    ttl = {"ex": 1} if isinstance(store, redis.Redis) else {"expire": 1}
    observed = instrument(stored_in(store, **ttl)(asking(client)), **recording.providers)
    observed("one?")
    observed("one?")
    time.sleep(1.2)
    observed("one?")
    first, hit, again = creates(recording)
    assert first["llm_cache.ttl"] == 1
    assert hit["llm_cache.outcome"] == "hit"
    assert again[REASON] == "expired"


def test_other_reasons(store: Any, client: Any, recording: Recording) -> None:
    @stored_in(store)
    def extract(text: str, style: int = 1) -> User:
        if text == "fail":
            raise LookupError(text)
        return User(name=text, age=style)

    observed = instrument(extract, **recording.providers)

    def why(*args: Any) -> Any:
        try:
            observed(*args)
        except LookupError:
            assert args == ("fail",)
        return creates(recording)[-1].get(REASON)

    assert why("What is the capital of France?") == "new_prompt"
    assert why("What is the capital of France?", 2) == "parameters_changed"
    assert why("What is the capital of France? ") == "near_duplicate_prompt"
    assert why("fail") == "new_prompt"
    assert why("fail") == "not_stored"
    (store.flushall if isinstance(store, redis.Redis) else store.clear)()
    assert why("What is the capital of France?") == "lost"


def test_an_entry_that_is_no_answer_any_more(store: Any, client: Any, recording: Recording) -> None:
    observed = instrument(stored_in(store)(asking(client)), **recording.providers)
    observed("one?")
    (key,) = store.keys() if isinstance(store, redis.Redis) else [*store]
    store.set(key, '{"name": 3}')
    recording.clear()
    with pytest.raises(pydantic.ValidationError):
        observed("one?")
    (call,) = creates(recording)
    assert (call["llm_cache.outcome"], call[REASON]) == ("error", "entry_invalid")


def test_what_is_kept_for_longer_is_a_hit(recording: Recording, tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)

        def sliding(text: str) -> str:
            found = store.get(text)
            answer = found or text * 2
            store.set(text, answer, expire=60)
            return str(answer)

        observed = instrument(sliding, **recording.providers)
        assert observed("x") == observed("x")
    assert requests(recording, backend="disk") == {"miss": 1, "hit": 1}


def test_what_is_looked_for_with_in(store: Any, recording: Recording) -> None:
    @functools.partial(instrument, **recording.providers)
    def looking(text: str) -> Any:
        if text in store:
            return store[text]
        store[text] = b"answer"
        return b"answer"

    assert looking("x") == looking("x")
    assert requests(recording, backend=backend_of(store)) == {"miss": 1, "hit": 1}


class Adapter(BaseCache):
    """Of Instructor's, over the same store as the function's."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def get(self, key: str) -> Any:
        return self.store.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self.store.set(key, value)


def test_what_instructor_looks_up_is_not_the_functions(
    store: Any, provider: SimulatedProvider, recording: Recording
) -> None:
    client = instrument(
        make_client(provider, cache=Adapter(store), **namespace("all")), **recording.providers
    )
    observed = instrument(asking(client), **recording.providers)
    for _ in range(2):
        observed("one?")
    client.client.close()
    outcomes = requests(recording, "llm_cache.outcome", backend_of(store))
    assert outcomes == {"miss": 1, "hit": 1}, "the client's"
    assert sums(recording)["response llm_cache.saved.cost"] == 0, "counted with them"


def test_a_store_that_is_away(tmp_path: Path, client: Any, recording: Recording) -> None:
    """As the program has it without us, and telemetry recovers when the store does."""
    with redis_server(tmp_path) as url:
        port = url.rsplit(":", 1)[1].split("/")[0]
        store = instrument(redis.Redis.from_url(url, retry=None), **recording.providers)
        observed = instrument(stored_in(store)(asking(client)), **recording.providers)
        observed("one?")
    with pytest.raises(redis.exceptions.ConnectionError) as raised:
        observed("one?")
    assert type(raised.value) is redis.exceptions.ConnectionError
    with redis_server(tmp_path, port):
        observed("one?")
        observed("one?")
        store.close()
    calls = creates(recording)
    assert [call["llm_cache.outcome"] for call in calls] == ["miss", "error", "miss", "hit"]
    assert calls[1][REASON] == "backend_unavailable"
    assert calls[1]["error.type"] == "redis.exceptions.ConnectionError"
    assert calls[2][REASON] == "lost"


SHARING = textwrap.dedent("""
    import sys, diskcache
    from support.decorators import stored_in
    from support.models import User
    with diskcache.Cache(sys.argv[1]) as store:
        @stored_in(store)
        def extract(text: str) -> User:
            return User(name="theirs", age=1)
        assert extract("one?").name == sys.argv[2]
        extract("two?")
""")


def run_sharing(directory: Path, name: str) -> None:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SHARING, str(directory), name]
    subprocess.run(command, env=variables, check=True, timeout=60)


class TestMoney:
    def test_of_what_another_process_stored_nothing_is_claimed(
        self, client: Any, recording: Recording, tmp_path: Path
    ) -> None:
        with diskcache.Cache(str(tmp_path)) as store:
            instrument(store, **recording.providers)
            observed = instrument(stored_in(store)(asking(client)), **recording.providers)
            first = observed("one?")
            run_sharing(tmp_path, first.name)
            recording.clear()
            assert observed("two?").name == "theirs"
            assert creates(recording)[0]["llm_cache.outcome"] == "hit"
            found = sums(recording)
            assert "response llm_cache.saved.cost" not in found
            assert found["llm_cache.unpriced.requests"] == 1
            observed("one?")
            assert sums(recording)["response llm_cache.saved.cost"] > 0
            store.clear()
            run_sharing(tmp_path, "theirs")
            observed("one?")  # which they have stored anew
            assert "response llm_cache.saved.cost" not in sums(recording)

    def test_two_stores_with_one_key_are_two(self, recording: Recording, tmp_path: Path) -> None:
        with (
            SimulatedProvider() as bank,
            diskcache.Cache(str(tmp_path / "a")) as one,
            diskcache.Cache(str(tmp_path / "b")) as other,
        ):
            client = instrument(make_client(bank), **recording.providers)
            extracts = []
            for store in (one, other):
                instrument(store, **recording.providers)
                extract = stored_in(store)(asking(client))
                extracts.append(instrument(extract, **recording.providers))
            extracts[0]("one?")
            cheap = sums(recording)["llm_cache.spent.cost"]
            bank.cues.add(Cue(answer={}))
            extracts[1]("one?")  # which is asked for twice
            dear = sums(recording)["llm_cache.spent.cost"]
            assert dear > 1.5 * cheap
            for extract, worth in zip(extracts, (cheap, dear), strict=True):
                extract("one?")
                assert sums(recording)["response llm_cache.saved.cost"] == pytest.approx(worth)
            client.client.close()


def test_a_store_that_nobody_observes_is_told_once(
    recording: Recording, caplog: pytest.LogCaptureFixture, tmp_path: Path, client: Any
) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        observed = instrument(stored_in(store)(asking(client)), **recording.providers)
        for _ in range(3):
            observed("one?")
        assert requests(recording, backend=None)["off"] >= 3  # type: ignore[arg-type]
        said = [text for text in caplog.messages if "asked no store" in text]
        assert len(said) == 1
        assert "extract() asked no store" in said[0]


def test_a_function_that_goes_around_its_store_at_times_is_no_cause_for_advice(
    recording: Recording, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with diskcache.Cache(str(tmp_path)) as store:
        instrument(store, **recording.providers)

        @functools.partial(instrument, **recording.providers)
        def at_times(text: str) -> str:
            return text if text == "around" else str(store.get(text))

        for text in ("x", "around"):
            at_times(text)
    assert not [text for text in caplog.messages if "asked no store" in text]


def at_home(text: str) -> str:
    return text


def test_what_is_pickled_is_its_name(recording: Recording, monkeypatch: Any) -> None:
    observed = instrument(at_home, **recording.providers)
    monkeypatch.setitem(globals(), "at_home", observed)
    assert pickle.loads(pickle.dumps(observed)) is observed


def test_what_observing_takes_is_no_part_of_a_keys_time(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Spans.open

    def slow(*args: Any) -> Any:
        time.sleep(0.2)
        return started(*args)

    cache = instrument(diskcache.Cache(tmp_path), **recording.providers)
    observed = instrument(stored_in(cache)(as_user), **recording.providers)
    monkeypatch.setattr(Spans, "open", slow)
    observed("ada")
    cache.close()
    (create,) = [span for span in recording.spans() if span.name.startswith("create")]
    assert 0 < create.attributes["llm_cache.key.duration"] < 0.2


def as_user(text: str) -> User:
    return User(name=text, age=1)

"""What hits of `instructor_cache` spare is what the provider charged for their answers, in any process."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import BaseModel, field_validator
from support.cached import AT_ONCE, Runs, observed, outcomes, warnings_of
from support.models import DictCache, User
from support.programs import environment, output_of, run, start, unmeasured
from support.recording import Recording
from support.redis_server import redis_server
from support.sellers import MANUAL, SELLERS
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider

DOLLARS = Callable[[], float]


@pytest.fixture
def charged(provider: SimulatedProvider) -> DOLLARS:
    """What the provider has charged for since the test began."""
    before = provider.ledger.tokens[MODEL].copy()
    return lambda: float(SELLERS["openai"].cost(provider.ledger.tokens[MODEL] - before))


class Books:
    """Our own sums, since the last time."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __call__(self) -> Counter[str]:
        sums: Counter[str] = Counter()
        for metric, point in self._recording.raw_points():
            if hasattr(point, "value"):
                layer = point.attributes.get("llm_cache.layer")
                sums[f"{layer} {metric.name}" if layer else metric.name] += point.value
        return sums


SAVED = "response llm_cache.saved.cost"
SPENT = "llm_cache.spent.cost"
UNPRICED = "llm_cache.unpriced.requests"


@pytest.fixture
def client(provider: SimulatedProvider, recording: Recording) -> Iterator[Any]:
    client = make_client(provider)
    instrument(client, **recording.providers)
    yield client
    client.client.close()


def asking(client: Any, text: str) -> User:
    messages = [{"role": "user", "content": text}]
    return client.create(model=MODEL, messages=messages, response_model=User)  # type: ignore[no-any-return]


def test_the_processes_of_a_fleet(
    provider: SimulatedProvider, tmp_path: Path, receiver: OtlpReceiver, charged: DOLLARS
) -> None:
    """One pays, retries and prompt cache included; the others tell to the token what that spares."""
    program = f"""
        import sys
        import instructor, redis
        from llm_cache_otel import flush, instructor_cache, instrument
        from support.models import User

        client = instrument(instructor.from_provider("openai/{MODEL}"))
        cache = redis.Redis.from_url(sys.argv[1])

        @instructor_cache(cache, ttl=600, name="people")
        def extract(text: str, labels: frozenset[str]) -> User:
            messages = [{{"role": "user", "content": {MANUAL!r} + text}}]
            return client.create(messages=messages, response_model=User)

        for text in ("Ada", "Alan", "Grace"):
            user = extract(text, labels=frozenset("abcdefgh"))
            print(user.name, user.age)
        assert flush(10)
    """
    before = provider.ledger.tokens[MODEL].copy()
    provider.cues.add(Cue(answer={}))
    variables = environment(provider, receiver)
    with redis_server(tmp_path) as url:
        first, _ = run(program, {**variables, "PYTHONHASHSEED": "1"}, url)
        tokens, dollars = provider.ledger.tokens[MODEL] - before, charged()
        others = [start(program, {**variables, "PYTHONHASHSEED": seed}, url) for seed in "234"]
        assert [output_of(other)[0] for other in others] == [first] * 3
    assert charged() == dollars
    assert tokens["read"] > 0
    metrics = receiver.metrics()
    by_outcome = {
        outcome: metrics.total(
            "llm_cache.requests", {"llm_cache.outcome": outcome, "llm_cache.name": "people"}
        )
        for outcome in ("miss", "hit")
    }
    assert by_outcome == {"miss": 3, "hit": 9}
    response = {"llm_cache.layer": "response", "llm_cache.name": "people"}
    response |= {"gen_ai.provider.name": "openai", "gen_ai.request.model": MODEL}
    assert metrics.total(SPENT) == pytest.approx(dollars)
    assert metrics.total("llm_cache.saved.cost", response) == pytest.approx(3 * dollars)
    saved = {
        kind: metrics.total("llm_cache.saved.tokens", {**response, "llm_cache.token.type": kind})
        for kind in ("input", "output")
    }
    assert saved == {
        "input": 3 * (sum(tokens.values()) - tokens["output"]),
        "output": 3 * tokens["output"],
    }
    assert metrics.total(UNPRICED) == 0


def test_children_that_are_forked(
    provider: SimulatedProvider, tmp_path: Path, receiver: OtlpReceiver, charged: DOLLARS
) -> None:
    program = """
        import os, sys
        import diskcache, httpx, instructor, openai
        from llm_cache_otel import flush, instructor_cache, instrument
        from support.caller import import_all, MODEL, UNSHARED
        from support.models import User

        sdk = openai.OpenAI(http_client=httpx.Client(limits=UNSHARED))
        client = instrument(instructor.from_openai(sdk, model=MODEL))
        cache = diskcache.Cache(sys.argv[1])

        @instructor_cache(cache)
        def extract(text: str) -> User:
            return client.create(messages=[{"role": "user", "content": text}], response_model=User)

        import_all()
        extract("Ada")
        for _ in range(2):
            if not os.fork():
                extract("Ada")
                extract(f"Alan {os.getpid()}")
                flush(10)
                os._exit(0)
        for _ in range(2):
            assert os.wait()[1] == 0
        extract("Ada")
        assert flush(10)
    """
    variables = unmeasured(environment(provider, receiver, "http/protobuf"))
    run(program, variables, tmp_path)
    metrics = receiver.metrics()
    told = {
        outcome: metrics.total("llm_cache.requests", {"llm_cache.outcome": outcome})
        for outcome in ("miss", "hit")
    }
    assert told == {"miss": 3, "hit": 3}
    assert metrics.total(SPENT) == pytest.approx(charged())
    instances = {point.resource["service.instance.id"] for point in metrics.points}
    assert len(instances) == 3
    of_one = metrics.total("llm_cache.saved.cost", {"llm_cache.layer": "response"}) / 3
    assert 0 < of_one < charged()


def test_a_server_that_goes_and_comes_back(
    tmp_path: Path, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs()
    with redis_server(tmp_path) as url:
        cache = redis.Redis.from_url(url, **AT_ONCE)

        @observed(recording, cache)
        def extract(name: str) -> User:
            return runs(name)

        extract("Ada")
        extract("Ada")
    for _ in range(3):
        extract("Ada")
    with redis_server(tmp_path, url.rpartition(":")[2].removesuffix("/0")):
        extract("Ada")
        extract("Ada")
        cache.close()
    assert len(runs) == 5
    assert [outcome for outcome, _ in outcomes(recording)] == [
        *("miss", "hit", "error", "error", "error", "miss", "hit")
    ]
    assert {reason for outcome, reason in outcomes(recording) if outcome == "error"} == {
        "backend_unavailable"
    }
    assert len(warnings_of(caplog)) == 1


def test_functions_within_functions(
    client: Any, recording: Recording, charged: DOLLARS, provider: SimulatedProvider
) -> None:
    """What the inner ones took the outer one's entry has as well; no dollar is spent or spared twice."""
    store, books = DictCache(), Books(recording)

    @observed(recording, store)
    def person(name: str) -> User:
        return asking(client, name)

    @observed(recording, store)
    def couple(one: str, other: str) -> User:
        return User(name=person(one).name + person(other).name, age=asking(client, "both").age)

    couple("Ada", "Alan")
    whole = charged()
    counted = books()
    assert (counted[SPENT], counted[SAVED]) == (pytest.approx(whole), 0)
    couple("Ada", "Alan")
    counted = books()
    assert (counted[SPENT], counted[SAVED]) == (0, pytest.approx(whole))
    person("Ada")
    person("Alan")
    inner = books()[SAVED]
    assert 0 < inner < whole
    couple("Alan", "Ada")  # which finds both inner ones, and pays for the last
    counted = books()
    rest = charged() - whole
    assert counted[SPENT] == pytest.approx(rest)
    assert counted[SAVED] == pytest.approx(inner)
    couple("Alan", "Ada")
    assert books()[SAVED] == pytest.approx(rest), (
        "without the entry it would have found the inner ones"
    )
    assert outcomes(recording)[-1] == ("hit", None)


def test_a_function_that_asks_only_another_that_hits(
    client: Any, recording: Recording, charged: DOLLARS
) -> None:
    store, books = DictCache(), Books(recording)

    @observed(recording, store)
    def person(name: str) -> User:
        return asking(client, name)

    @observed(recording, store)
    def shout(name: str) -> User:
        return person(name).model_copy(update={"name": name.upper()})

    person("Ada")
    shout("Ada")
    books()
    shout("Ada")
    counted = books()
    assert (counted[SAVED], counted[UNPRICED]) == (0, 0), "that it spares nothing is known"


def test_who_is_not_observed_spares_nobody_knows_what(
    provider: SimulatedProvider, recording: Recording
) -> None:
    store, books = DictCache(), Books(recording)
    client = make_client(provider)

    @observed(recording, store)
    def person(name: str) -> User:
        return asking(client, name)

    person("Ada")
    person("Ada")
    client.client.close()
    counted = books()
    assert (counted[SAVED], counted[SPENT], counted[UNPRICED]) == (0, 0, 1)


def test_what_a_function_asks_in_threads_and_tasks(
    provider: SimulatedProvider, client: Any, recording: Recording, charged: DOLLARS
) -> None:
    store, books = DictCache(), Books(recording)
    async_client = make_client(provider, asynchronous=True)
    instrument(async_client, **recording.providers)

    @observed(recording, store)
    def in_threads(names: tuple[str, ...]) -> User:
        with ThreadPoolExecutor(2) as pool:
            tasks = [
                pool.submit(contextvars.copy_context().run, asking, client, name) for name in names
            ]
        return tasks[0].result()

    @observed(recording, store)
    async def in_tasks(names: tuple[str, ...]) -> User:
        asked = (
            async_client.create(
                model=MODEL, messages=[{"role": "user", "content": name}], response_model=User
            )
            for name in names
        )
        users = await asyncio.gather(*asked)
        return users[0]  # type: ignore[no-any-return]

    async def tasks() -> None:
        await in_tasks(("Grace", "Edsger"))
        books()
        dollars = charged() - threads
        await in_tasks(("Grace", "Edsger"))
        assert books()[SAVED] == pytest.approx(dollars)
        await async_client.client.close()

    in_threads(("Ada", "Alan"))
    threads = charged()
    books()
    in_threads(("Ada", "Alan"))
    assert books()[SAVED] == pytest.approx(threads)
    asyncio.run(tasks())


def test_a_model_whose_validators_ask_too(
    client: Any, recording: Recording, charged: DOLLARS
) -> None:
    """When an entry is written and when it is read they run again, which is no part of what a hit spares."""

    class Judged(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def judge(cls, name: str) -> str:
            asking(client, f"Is {name} a name?")
            return name

    store, books = DictCache(), Books(recording)

    @observed(recording, store)
    def extract(name: str) -> Judged:
        return Judged(name=asking(client, name).name)

    extract("Ada")
    written = charged()
    assert books()[SPENT] == pytest.approx(written)
    extract("Ada")
    counted = books()
    read = charged() - written
    assert counted[SPENT] == pytest.approx(read)
    assert counted[SAVED] == pytest.approx(written - read)
    creates = recording.spans("create Judged")
    assert [span.attributes["llm_cache.outcome"] for span in creates] == ["miss", "hit"]

"""Programs of the shapes that Instructor's guides show for functions and prompts, plus our lines.

What is told of them is what the simulated provider's ledger says.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import instructor
import pytest
import redis
from pydantic import BaseModel
from support.recording import Recording
from support.redis_server import redis_server
from support.sellers import MANUAL, SELLERS

from llm_cache_otel import instructor_cache, instrument
from llm_cache_otel.cli.simulate import SimulatedProvider

MODEL = "gpt-4.1-mini"
TEXTS = ["The lamp was lit in 1811", "The keeper is called Ann", "The lamp was lit in 1811"]


class Fact(BaseModel):
    subject: str
    year: int


@pytest.fixture(autouse=True)
def at_the_simulated_provider(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Any]]:
    """What users have in their environment."""
    for name, address in (("OPENAI", provider.openai_url), ("ANTHROPIC", provider.url)):
        monkeypatch.setenv(f"{name}_API_KEY", "k")
        monkeypatch.setenv(f"{name}_BASE_URL", address)
    clients: list[Any] = []
    yield clients
    for client in clients:
        client.client.close()


@pytest.fixture
def client(at_the_simulated_provider: list[Any]) -> Any:
    client = instructor.from_provider(f"openai/{MODEL}")
    at_the_simulated_provider.append(client)
    return client


class Ledger:
    """What the provider has charged for since the last time."""

    def __init__(self, provider: SimulatedProvider, seller: str = "openai") -> None:
        self._tokens = provider.ledger.tokens[SELLERS[seller].model]
        self._seller = SELLERS[seller]
        self.before = self._tokens.copy()

    def dollars(self) -> float:
        new = self._tokens - self.before
        self.before = self._tokens.copy()
        return float(self._seller.cost(new))


def sums(recording: Recording) -> Counter[str]:
    """Requests of functions by outcome, and dollars."""
    found: Counter[str] = Counter()
    for metric, point in recording.raw_points():
        labels = point.attributes
        if metric.name == "llm_cache.requests" and labels["llm_cache.outcome"] != "off":
            found[labels["llm_cache.outcome"]] += point.value
        if metric.name.endswith(".cost"):
            kind = labels.get("llm_cache.layer", "")
            found[f"{kind} {metric.name}".strip()] += point.value
    return found


def agree(recording: Recording, provider: SimulatedProvider, extract: Callable[[str], Any]) -> None:
    """Two texts are paid for; the third call, and a whole second round, spare what they had cost."""
    ledger = Ledger(provider)
    extract(TEXTS[0])
    one = ledger.dollars()
    for text in TEXTS[1:]:
        extract(text)
    both = one + ledger.dollars()
    found = sums(recording)
    assert (found["miss"], found["hit"]) == (2, 1)
    assert found["llm_cache.spent.cost"] == pytest.approx(both)
    assert found["response llm_cache.saved.cost"] == pytest.approx(one)
    for text in TEXTS:
        extract(text)
    found = sums(recording)
    assert (found["miss"], found["hit"]) == (0, 3)
    assert ledger.dollars() == found["llm_cache.spent.cost"] == 0
    assert found["response llm_cache.saved.cost"] == pytest.approx(both + one)


def test_functools_cache(client: Any, provider: SimulatedProvider, recording: Recording) -> None:
    @functools.cache
    def extract(data: str) -> Fact:
        return client.create(response_model=Fact, messages=[{"role": "user", "content": data}])  # type: ignore[no-any-return]

    instrument(client, **recording.providers)
    extract = instrument(extract, **recording.providers)

    assert extract(TEXTS[1]) is extract(TEXTS[1])
    extract.cache_clear()
    sums(recording)
    agree(recording, provider, extract)


def caching_in(cache: Any) -> Callable[[Any], Any]:
    """The guides' shape: the key is the function's name and its arguments, the entry the model as JSON."""

    def decorate(function: Any) -> Any:
        returned = inspect.signature(function, eval_str=True).return_annotation
        if not issubclass(returned, BaseModel):
            raise TypeError(returned)

        @functools.wraps(function)
        def looking_first(*args: Any, **kwargs: Any) -> Any:
            key = f"{function.__name__}/{functools._make_key(args, kwargs, False)}"
            found = cache.get(key)
            if found is not None:
                return returned.model_validate_json(found)
            answer = function(*args, **kwargs)
            cache.set(key, answer.model_dump_json())
            return answer

        return looking_first

    return decorate


@pytest.fixture(params=["diskcache", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "diskcache":
        with diskcache.Cache(str(tmp_path)) as disk:
            yield disk
    else:
        with redis_server(tmp_path) as url, redis.Redis.from_url(url) as client:
            yield client


def test_a_decorator_over_a_store(
    client: Any, store: Any, provider: SimulatedProvider, recording: Recording
) -> None:
    @caching_in(store)
    def extract(data: str) -> Fact:
        return client.create(response_model=Fact, messages=[{"role": "user", "content": data}])  # type: ignore[no-any-return]

    instrument(client, **recording.providers)
    instrument(store, **recording.providers)
    extract = instrument(extract, **recording.providers)

    agree(recording, provider, extract)


def test_and_ours_in_its_place(
    client: Any, store: Any, provider: SimulatedProvider, recording: Recording
) -> None:
    @instructor_cache(store)
    def extract(data: str) -> Fact:
        return client.create(response_model=Fact, messages=[{"role": "user", "content": data}])  # type: ignore[no-any-return]

    instrument(client, **recording.providers)
    instrument(extract, **recording.providers)

    agree(recording, provider, extract)


def test_what_the_guides_warn_of(store: Any, recording: Recording) -> None:
    """A changed model goes on being answered with what is there, as the guides' key has no schema in it."""

    class Changed(BaseModel):
        subject: str
        century: int

    def extracting(model: Any, name: str) -> Any:
        def extract(data: str) -> Any:
            values = {name: len(data) for name in model.model_fields if name != "subject"}
            return model(subject=data, **values)

        extract.__annotations__["return"], extract.__qualname__ = model, name
        return extract

    theirs = [
        instrument(caching_in(store)(extracting(model, "theirs")), **recording.providers)
        for model in (Fact, Changed)
    ]
    instrument(store, **recording.providers)
    theirs[0]("Ann")
    with pytest.raises(ValueError):
        theirs[1]("Ann")
    ours = [
        instrument(instructor_cache(store)(extracting(model, "ours")), **recording.providers)
        for model in (Fact, Changed)
    ]
    for function in ours:
        assert function("Ann") == function("Ann")
    found = recording.sums("llm_cache.requests", "llm_cache.reason")
    assert found == {"new_prompt": 2, "entry_invalid": 1, "schema_changed": 1, None: 2}


def test_anthropics_prompt_caching_through_instructor(
    at_the_simulated_provider: list[Any], provider: SimulatedProvider, recording: Recording
) -> None:
    seller = SELLERS["anthropic"]
    client = instructor.from_provider(f"anthropic/{seller.model}")
    at_the_simulated_provider.append(client)
    ledger = Ledger(provider, "anthropic")
    book = f"{json.dumps(str(id(ledger)))} {MANUAL * 3}"

    instrument(client, **recording.providers)
    for question in ("Who keeps the light?", "When was it lit?"):
        fact, completion = client.create_with_completion(
            response_model=Fact,
            max_tokens=200,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": book, "cache_control": {"type": "ephemeral"}},
                        {"type": "text", "text": question},
                    ],
                }
            ],
        )
        assert isinstance(fact, Fact)
        assert completion.usage is not None

    prompts = [
        span.attributes["llm_cache.prompt.outcome"]
        for span in recording.spans(f"chat {seller.model}")
    ]
    assert prompts == ["write", "read"]
    found = sums(recording)
    charged = provider.ledger.tokens[seller.model] - ledger.before
    assert found["llm_cache.spent.cost"] == pytest.approx(float(seller.cost(charged)))
    net = found["prompt llm_cache.saved.cost"] - found["llm_cache.write_premium.cost"]
    uncached = float(seller.uncached(charged))
    assert net == pytest.approx(uncached - found["llm_cache.spent.cost"])
    assert net > 0

"""What the Instructors do otherwise, and what is said of it: as true of the oldest as of the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import instructor
import pytest
from instructor.cache import AutoCache
from support.clients import MAKERS, PROVIDER_NAMES, make
from support.models import MESSAGES, City, DictCache, User
from support.recording import Recording
from support.versions import (
    CACHES_PARALLEL_TOOLS_NOT,
    HAS_NAMESPACES,
    INSTRUCTOR,
    KEYS_CAN_FAIL,
    before_only_base_caches,
    max_retries,
    namespace,
)
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.observe import instructor_api

REQUEST: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "response_model": User}


def attributes(recording: Recording, name: str) -> list[Any]:
    return [span.attributes.get(name) for span in recording.spans("create User")]


@pytest.fixture
def observed(provider: SimulatedProvider, recording: Recording) -> Any:
    """Makes observed clients, and closes them."""
    clients: list[Any] = []

    def observed(**kwargs: Any) -> Any:
        clients.append(instrument(make_client(provider, **kwargs), **recording.providers))
        return clients[-1]

    yield observed
    for client in clients:
        client.client.close()


def test_nothing_of_this_instructor_goes_unseen() -> None:
    assert instructor_api.missing == []
    assert not instructor_api.unseen


def test_whose_entries_a_cache_gives_out(
    observed: Callable[..., Any], provider: SimulatedProvider, recording: Recording
) -> None:
    """Before 1.17 everybody's, since then a client's own unless a namespace is given."""
    cache = AutoCache()
    before = provider.ledger.answers[MODEL]
    for _ in range(2):
        observed(cache=cache).create(**REQUEST)
    answers = provider.ledger.answers[MODEL] - before
    assert answers == (2 if HAS_NAMESPACES else 1)
    assert attributes(recording, "llm_cache.outcome") == ["miss", "miss" if answers == 2 else "hit"]
    assert attributes(recording, "llm_cache.namespace.shared") == [not HAS_NAMESPACES] * 2


def test_a_namespace_that_is_given_is_shared(
    observed: Callable[..., Any], recording: Recording
) -> None:
    cache = AutoCache()
    for _ in range(2):
        observed(cache=cache, **namespace("both")).create(**REQUEST)
    assert attributes(recording, "llm_cache.outcome") == ["miss", "hit"]
    assert attributes(recording, "llm_cache.namespace.shared") == [True, True]


class Tenfold:
    """Something that can be asked like a cache, and is none of Instructor's."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self.entries[key] = value


@before_only_base_caches
def test_an_object_that_is_no_base_cache_is_a_cache_like_any_other(
    observed: Callable[..., Any], recording: Recording
) -> None:
    client = observed(cache=Tenfold())
    for _ in range(2):
        client.create(**REQUEST)
    assert attributes(recording, "llm_cache.outcome") == ["miss", "hit"]
    assert attributes(recording, "llm_cache.backend") == ["Tenfold", "Tenfold"]
    assert len(recording.spans("cache lookup")) == 2
    assert recording.sums("llm_cache.backend.duration", "llm_cache.operation") == {
        "get": 2,
        "set": 1,
    }


def test_the_key_is_one_lookups_however_often_it_is_computed(
    observed: Callable[..., Any], recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instructor_api.KEY is not None
    module, name = instructor_api.KEY
    original, runs = getattr(module, name), []

    def counting(**arguments: Any) -> Any:
        runs.append(arguments)
        return original(**arguments)

    monkeypatch.setattr(module, name, counting)
    observed(cache=DictCache()).create(**REQUEST)
    # From 1.15.3 to 1.16 a second time, before the answer is stored.
    assert len(runs) == (2 if (1, 15, 3) <= INSTRUCTOR < (1, 17) else 1)
    assert recording.sums("llm_cache.key.duration", "gen_ai.provider.name") == {"openai": 1}
    create, lookup = recording.span("create User"), recording.span("cache lookup")
    assert (
        lookup.attributes["llm_cache.key.duration"] == create.attributes["llm_cache.key.duration"]
    )
    (chat,) = recording.spans(f"chat {MODEL}")
    assert lookup.end_time <= chat.start_time


def test_an_attempt_is_a_request_that_the_provider_got(
    observed: Callable[..., Any], provider: SimulatedProvider, recording: Recording
) -> None:
    """Before 1.15.3 a provider's error is tried again like an answer that does not validate."""
    client = observed(cache=AutoCache())
    before = provider.ledger.requests
    provider.cues.add(Cue(status=500), Cue(answer={}))
    with_errors: dict[str, Any] = {**REQUEST, "max_retries": max_retries(attempts=3)}
    if INSTRUCTOR >= (1, 15, 3):
        with pytest.raises(instructor_api.InstructorRetryException):
            client.create(**with_errors)
    client.create(**with_errors)
    asked = provider.ledger.requests - before
    assert asked == 3
    assert sum(attributes(recording, "llm_cache.attempts")) == asked
    assert len(recording.spans(f"chat {MODEL}")) == asked
    assert sum(recording.sums("gen_ai.client.operation.duration", "error.type").values()) == asked


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"user": "another"}])
def test_a_parameter_that_the_key_leaves_out(
    change: dict[str, Any], observed: Callable[..., Any], recording: Recording
) -> None:
    """Before 1.17 an answer is given out again whatever else is asked for; a hit it is, then."""
    client = observed(cache=AutoCache())
    client.create(**REQUEST)
    client.create(**REQUEST, **change)
    digests = attributes(recording, "llm_cache.key.digest")
    in_key = instructor_api.keys_have_namespaces
    assert len(set(digests)) == (2 if in_key else 1)
    assert attributes(recording, "llm_cache.outcome") == ["miss", "miss" if in_key else "hit"]


def test_a_context_that_no_json_can_hold(
    observed: Callable[..., Any], recording: Recording
) -> None:
    client = observed(cache=AutoCache())
    for _ in range(2):
        client.create(**REQUEST, context={"seen": {1, 2}})
    without_key = ["bypass", "bypass"]
    assert attributes(recording, "llm_cache.outcome") == (
        without_key if KEYS_CAN_FAIL else ["miss", "hit"]
    )
    part = "context" if KEYS_CAN_FAIL else None
    assert attributes(recording, "llm_cache.bypass.part") == [part, part]


def test_parallel_tools_with_a_cache(observed: Callable[..., Any], recording: Recording) -> None:
    """Before 1.17 the call fails before anybody is asked: it is no miss, and the error is told."""
    client = observed(cache=AutoCache(), mode=instructor.Mode.PARALLEL_TOOLS)
    request = {**REQUEST, "response_model": Iterable[User | City]}
    if CACHES_PARALLEL_TOOLS_NOT:
        assert list(client.create(**request))
    else:
        with pytest.raises((AttributeError, TypeError)):
            client.create(**request)
    (create,) = [span for span in recording.spans() if span.name.startswith("create")]
    assert create.attributes["llm_cache.outcome"] == "bypass"
    assert create.attributes["llm_cache.reason"] == "parallel_tools"
    assert ("error.type" in create.attributes) == (not CACHES_PARALLEL_TOOLS_NOT)
    assert create.attributes["llm_cache.attempts"] == (1 if CACHES_PARALLEL_TOOLS_NOT else 0)
    assert recording.spans("cache lookup") == []


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if "patch" in kind or "openai" in kind])
def test_a_provider_is_told_from_whom_is_called(
    kind: str, provider: SimulatedProvider, recording: Recording
) -> None:
    """Before 1.15.3 Instructor goes by the address, and does not know this one."""
    client = instrument(make(kind, provider), **recording.providers)
    client.chat.completions.create(**REQUEST)
    getattr(client, "client", client).close()
    assert attributes(recording, "gen_ai.provider.name") == [PROVIDER_NAMES[kind]]

"""Programs of the shapes that Instructor's guide shows for its built-in caching, plus the one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import instructor
import pytest
from instructor import from_provider
from instructor.cache import AutoCache, DiskCache
from pydantic import BaseModel
from support.recording import Recording
from support.versions import since_namespaces

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider


class Book(BaseModel):
    title: str
    pages: int


QUESTION = [{"role": "user", "content": "Name a book about lighthouses."}]


@pytest.fixture(autouse=True)
def at_the_simulated_provider(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What users have in their environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    clients: list[Any] = []
    original = instructor.from_openai

    def remembering(client: Any, **kwargs: Any) -> Any:
        clients.append(client)
        return original(client, **kwargs)

    monkeypatch.setattr(instructor, "from_openai", remembering)
    yield
    for client in clients:
        client.close()


def outcomes(recording: Recording) -> list[Any]:
    return [span.attributes["llm_cache.outcome"] for span in recording.spans("create Book")]


def test_one_cache_for_the_whole_client(provider: SimulatedProvider, recording: Recording) -> None:
    client = from_provider("openai/gpt-4.1-mini", cache=AutoCache(maxsize=1000))
    instrument(client, **recording.providers)
    before = provider.ledger.requests

    first = client.create(messages=QUESTION, response_model=Book)
    second = client.create(messages=QUESTION, response_model=Book)
    assert first.title == second.title

    assert outcomes(recording) == ["miss", "hit"]
    assert provider.ledger.requests - before == 1
    saved = recording.spans("create Book")[1].attributes["llm_cache.saved.duration"]
    assert saved >= 0


def test_a_disk_cache_handed_to_each_call_with_a_time_to_live(
    provider: SimulatedProvider, recording: Recording, tmp_path: Path
) -> None:
    cache = DiskCache(directory=str(tmp_path))
    client = from_provider("openai/gpt-4.1-mini")
    instrument(client, **recording.providers)

    for _ in range(2):
        client.create(messages=QUESTION, response_model=Book, cache=cache, cache_ttl=3600)
    client.create(messages=QUESTION, response_model=Book)
    cache._cache.expire(now=9e9)
    client.create(messages=QUESTION, response_model=Book, cache=cache, cache_ttl=3600)
    cache._cache.close()

    assert outcomes(recording) == ["miss", "hit", "off", "miss"]
    for span in recording.spans("cache store"):
        assert span.attributes["llm_cache.backend"] == "disk"
        assert span.attributes["llm_cache.ttl"] == 3600


def test_the_raw_completion_after_a_hit(recording: Recording) -> None:
    client = from_provider("openai/gpt-4.1-mini", cache=AutoCache())
    instrument(client, **recording.providers)

    _, completion = client.create_with_completion(messages=QUESTION, response_model=Book)
    book, restored = client.create_with_completion(messages=QUESTION, response_model=Book)
    assert restored.usage.total_tokens == completion.usage.total_tokens
    assert restored.choices[0].message.tool_calls[0].function.name == type(book).__name__

    assert outcomes(recording) == ["miss", "hit"]


@since_namespaces
def test_two_clients_that_share_a_namespace_and_two_that_do_not(recording: Recording) -> None:
    cache = AutoCache()
    for namespace in ({"cache_namespace": "books"}, {"cache_namespace": "books"}, {}, {}):
        client = from_provider("openai/gpt-4.1-mini", cache=cache, **namespace)
        instrument(client, **recording.providers)
        client.create(messages=QUESTION, response_model=Book)

    assert outcomes(recording) == ["miss", "hit", "miss", "miss"]
    shared = [
        span.attributes["llm_cache.namespace.shared"] for span in recording.spans("create Book")
    ]
    assert shared == [True, True, False, False]


def test_a_changed_schema_is_another_entry_and_another_digest(recording: Recording) -> None:
    class Changed(Book):
        """The same fields, described."""

    Changed.__name__ = Changed.__qualname__ = "Book"
    client = from_provider("openai/gpt-4.1-mini", cache=AutoCache())
    instrument(client, **recording.providers)
    for model in (Book, Changed):
        client.create(messages=QUESTION, response_model=model)

    assert outcomes(recording) == ["miss", "miss"]
    digests = {
        span.attributes["llm_cache.schema.digest"] for span in recording.spans("create Book")
    }
    assert len(digests) == 2

"""The cache keys and the bytes in the cache are what they are without us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from instructor.cache import AutoCache, DiskCache
from support.clients import MAKERS, PROVIDER_NAMES, close, create, make, request_for
from support.models import DictCache
from support.recording import Recording
from support.versions import KEYS_CAN_FAIL, namespace, since_namespaces

from llm_cache_otel import instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.observe import instructor_api

NAMESPACE = namespace("shared")
KEYLESS = {"from_anthropic"} if KEYS_CAN_FAIL else set()
"""What no key can be built for: since anthropic 2, a client holds an `organization` that is no JSON."""


def client_then_cache(client: Any, cache: Any, **providers: Any) -> None:
    instrument(client, **providers)
    instrument(cache, **providers)


def cache_then_client(client: Any, cache: Any, **providers: Any) -> None:
    instrument(cache, **providers)
    instrument(client, **providers)


def twice(client: Any, cache: Any, **providers: Any) -> None:
    instrument(client, **providers)
    instrument(client, **providers)


def undone_and_redone(client: Any, cache: Any, **providers: Any) -> None:
    instrument(client, **providers)
    uninstrument(client)
    instrument(client, **providers)


ORDERS = [client_then_cache, cache_then_client, twice, undone_and_redone]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Every key that Instructor computes, in order."""
    computed: list[str | None] = []
    assert instructor_api.KEY is not None
    module, name = instructor_api.KEY
    original = getattr(module, name)

    def spy(**arguments: Any) -> str | None:
        computed.append(original(**arguments))
        return computed[-1]

    monkeypatch.setattr(module, name, spy)
    return computed


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", MAKERS)
def test_the_key_is_the_same_with_and_without_us(
    kind: str,
    asynchronous: bool,
    order: Callable[..., None],
    provider: SimulatedProvider,
    recording: Recording,
    keys: list[str | None],
) -> None:
    async def run() -> None:
        bare, observed = (make(kind, provider, asynchronous=asynchronous) for _ in range(2))
        for client in (bare, observed):
            cache = DictCache()
            if client is observed:
                order(client, cache, **recording.providers)
            await create(client, **request_for(kind, cache, **NAMESPACE))
        for client in (bare, observed):
            await close(client)

    asyncio.run(run())
    bare, observed = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    assert observed == bare
    assert (None in bare) == (kind in KEYLESS)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_client_is_observed(
    kind: str, asynchronous: bool, provider: SimulatedProvider, recording: Recording
) -> None:
    async def run() -> None:
        client = instrument(make(kind, provider, asynchronous=asynchronous), **recording.providers)
        request = request_for(kind, AutoCache(), **NAMESPACE)
        first = await create(client, **request)
        assert (await create(client, **request)).model_dump() == first.model_dump()
        await close(client)

    asyncio.run(run())
    outcomes = [span.attributes["llm_cache.outcome"] for span in recording.spans("create User")]
    assert outcomes == (["bypass", "bypass"] if kind in KEYLESS else ["miss", "hit"])
    for span in recording.spans():
        if span.name.startswith(("create", "chat", "generate_content")):
            assert span.attributes["gen_ai.provider.name"] == PROVIDER_NAMES[kind]
    operation = "generate_content" if kind == "from_genai" else "chat"
    attempts = [span for span in recording.spans() if span.kind.name == "CLIENT"]
    assert {span.name.split()[0] for span in attempts} == {operation}


@pytest.mark.parametrize("filled_by", ["bare", "observed"])
@pytest.mark.parametrize(
    "make_cache", [lambda path: DiskCache(str(path)), lambda path: AutoCache()]
)
def test_a_cache_filled_before_is_read_after_and_the_other_way_round(
    filled_by: str,
    make_cache: Callable[[Any], Any],
    provider: SimulatedProvider,
    recording: Recording,
    tmp_path: Any,
) -> None:
    cache = make_cache(tmp_path)

    async def run() -> None:
        client = make("from_openai", provider, cache=cache, **NAMESPACE)
        request = request_for("from_openai")
        before = provider.ledger.requests
        for observed in (filled_by == "observed", filled_by != "observed"):
            (instrument(client, **recording.providers) if observed else uninstrument(client))
            await create(client, **request)
        await close(client)
        assert provider.ledger.requests == before + 1

    asyncio.run(run())
    (span,) = recording.spans("create User")
    assert span.attributes["llm_cache.outcome"] == ("miss" if filled_by == "observed" else "hit")
    if isinstance(cache, DiskCache):
        cache._cache.close()


def test_the_bytes_in_the_cache_are_the_same(
    provider: SimulatedProvider, recording: Recording
) -> None:
    bare, observed = DictCache(), DictCache()

    async def run() -> None:
        for cache in (bare, observed):
            client = make("from_openai", provider, cache=cache, **NAMESPACE)
            if cache is observed:
                instrument(client, **recording.providers)
                instrument(cache, **recording.providers)
            await create(client, **request_for("from_openai", cache_ttl=30))
            await close(client)

    asyncio.run(run())
    assert observed.entries == bare.entries
    assert observed.ttls == bare.ttls == [30]


@since_namespaces
def test_two_api_keys_in_one_namespace_never_share_an_entry(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = AutoCache()

    async def run() -> None:
        for key in ("tenant-a", "tenant-b"):
            for kind in (
                "from_openai",
                "Instructor(create=patch(create=))",
                "instructor.patch(client)",
            ):
                client = instrument(make(kind, provider, key=key), **recording.providers)
                await create(client, **request_for(kind, cache, **NAMESPACE))
                await close(client)

    asyncio.run(run())
    spans = recording.spans("create User")
    assert [span.attributes["llm_cache.outcome"] for span in spans] == [
        *("miss", "hit", "hit"),
        *("miss", "hit", "hit"),
    ]

"""Nothing of prompts, completions, keys or headers leaves the program through us."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from pydantic import BaseModel, field_validator
from support.clients import MAKERS, close, create, make, request_for
from support.models import DictCache, FailingCache, User
from support.recording import Recording
from support.versions import HAS_NAMESPACES, namespace
from support.ways import MODEL, make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.facts import Interval, KeyFacts

MARK = "MARKER"
PROMPT = f"{MARK}-prompt"
MESSAGES = [
    {"role": "system", "content": f"{MARK}-system"},
    {"role": "user", "content": PROMPT},
]
OTHER_MESSAGES = [{"role": "user", "content": f"{MARK}-other"}]
SECRETS: dict[str, Any] = {
    "extra_headers": {"X-Secret": f"{MARK}-header"},
    "user": f"{MARK}-user",
    "stop": [f"{MARK}-stop"],
    "context": {f"{MARK}-context-name": f"{MARK}-context"},
    **namespace(f"{MARK}-namespace"),
}


class Picky(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        raise ValueError(f"{MARK}-validator does not like {name}")


def emitted(recording: Recording) -> str:
    """All that leaves, as the exporters would encode it, and as JSON for what is readable."""
    spans = recording.spans()
    data = recording.reader.get_metrics_data()
    readable = [span.to_json() for span in spans]
    wire = encode_spans(spans).SerializeToString()
    if data is not None:
        readable.append(data.to_json())
        wire += encode_metrics(data).SerializeToString()
    return json.dumps(readable) + wire.decode("latin-1")


def clean(recording: Recording, caplog: pytest.LogCaptureFixture) -> None:
    assert MARK not in emitted(recording)
    ours = [record for record in caplog.records if record.name.startswith("llm_cache_otel")]
    assert not [record.getMessage() for record in ours if MARK in record.getMessage()]
    assert not [record for record in ours if record.exc_info]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_success_hit_and_provider_errors(
    kind: str,
    asynchronous: bool,
    provider: SimulatedProvider,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "llm_cache_otel")

    async def run() -> None:
        client = make(kind, provider, asynchronous=asynchronous, key=f"{MARK}-key")
        instrument(client, **recording.providers)
        cache = instrument(DictCache(), **recording.providers)
        request = request_for(kind, cache, messages=MESSAGES, **namespace(f"{MARK}-namespace"))
        await create(client, **request)
        await create(client, **request)
        provider.cues.add(*[Cue(status=400, message=f"{MARK}-error")] * 5)
        with pytest.raises(Exception, match=MARK):
            await create(client, **{**request, "messages": OTHER_MESSAGES})
        provider.cues.clear()
        await close(client)

    asyncio.run(run())
    assert len(recording.spans("create User")) == 3
    clean(recording, caplog)


def test_every_failure(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "llm_cache_otel")
    client = make_client(provider, cache=AutoCache())
    instrument(client, name="failures", **recording.providers)
    request: dict[str, Any] = {
        "model": MODEL,
        "messages": MESSAGES,
        "response_model": User,
        **SECRETS,
    }
    client.create(**request)
    provider.cues.add(Cue(answer={f"{MARK}-field": f"{MARK}-value"}))
    client.create(**{**request, "messages": OTHER_MESSAGES})
    spoiled = DictCache()
    client.create(**request, cache=spoiled)
    spoiled.entries = {key: f'{{"model": "{MARK}-entry"}}' for key in spoiled.entries}

    class Leaky(FailingCache):
        def get(self, key: str) -> Any:
            raise ConnectionError(f"{MARK}-get {key}")

    class LeakySet(DictCache):
        def set(self, key: str, value: Any, ttl: int | None = None) -> None:
            raise ConnectionError(f"{MARK}-set {value}")

    class Unserializable:
        def __repr__(self) -> str:
            return f"{MARK}-repr"

    failing: list[dict[str, Any]] = [
        {"response_model": Picky, "max_retries": 1},
        {"cache": spoiled},
        {"cache": Leaky()},
        {"cache": LeakySet()},
        *([{"cache_namespace": ""}] if HAS_NAMESPACES else []),
        {"context": {f"{MARK}-name": Unserializable()}, "response_model": Picky, "max_retries": 0},
    ]
    for change in failing:
        with pytest.raises(Exception):  # noqa: B017  whatever it is, it may not be quoted
            client.create(**{**request, **change})
    for chunk in client.create_partial(**request), client.create_iterable(**request):
        assert list(chunk)
    client.client.close()
    assert len(recording.spans()) > 20
    clean(recording, caplog)


def test_the_digest_is_no_slice_of_the_key(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = DictCache()
    client = instrument(make_client(provider, cache=cache), **recording.providers)
    client.create(model=MODEL, messages=MESSAGES, response_model=User)
    client.client.close()
    (key,) = cache.entries
    digest = recording.span("create User").attributes["llm_cache.key.digest"]
    assert digest not in key
    assert key not in emitted(recording)
    assert not any(key[start : start + 16] in emitted(recording) for start in range(len(key) - 15))


def test_a_key_is_not_shown_where_facts_are() -> None:
    """Such as in a debugger, or in what an error tracker keeps of a frame: a function's may be a prompt."""
    facts = KeyFacts(Interval(1, 2), "a secret")
    assert "secret" not in repr(facts)
    assert facts == KeyFacts(Interval(1, 2), "a secret") != KeyFacts(Interval(1, 2), "another")

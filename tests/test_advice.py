"""A bypass that makes caching pointless is logged once for each cause, with what to do about it."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from instructor.cache import AutoCache
from support.clients import make, request_for
from support.models import DuckCache, User
from support.recording import Recording
from support.versions import since_keys_can_fail, since_only_base_caches

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "llm_cache_otel"]


@pytest.mark.parametrize(
    ("kind", "change", "mend"),
    [
        pytest.param(
            *("from_anthropic", {}, "or cache around the call"), marks=since_keys_can_fail
        ),
        pytest.param(
            *("from_openai", {"timeout": httpx.Timeout(9)}, "Pass timeout as a number of seconds"),
            marks=since_keys_can_fail,
        ),
        pytest.param(
            *("from_openai", {"context": {"seen": {1, 2}}}, "Pass values that JSON can hold"),
            marks=since_keys_can_fail,
        ),
        pytest.param(
            *("from_openai", {"cache": DuckCache()}, "Derive the adapter from BaseCache"),
            marks=since_only_base_caches,
        ),
        ("from_openai", {"response_model": list[User]}, "Wrap the type in a model"),
        ("from_openai", {"response_model": None}, "Give them a response model"),
    ],
)
def test_said_once_and_with_the_mend(
    kind: str,
    change: dict[str, Any],
    mend: str,
    provider: SimulatedProvider,
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = instrument(make(kind, provider), **recording.providers)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        for _ in range(3):
            client.create(**{**request_for(kind, AutoCache()), **change})
    client.client.close()
    (message,) = said(caplog)
    assert "never cached" in message or "not cached" in message
    assert mend in message


def test_streams_are_one_cause_whatever_their_model(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    client = instrument(make("from_openai", provider, cache=AutoCache()), **recording.providers)
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        for name in ("One", "Two"):
            model = type(name, (User,), {})
            assert list(client.create_iterable(**request_for("from_openai", response_model=model)))
    client.client.close()
    assert len(said(caplog)) == 1


def test_nothing_is_said_where_caching_works_or_was_not_asked_for(
    provider: SimulatedProvider, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    client = instrument(make("from_openai", provider), **recording.providers)
    with caplog.at_level(logging.DEBUG, "llm_cache_otel"):
        client.create(**request_for("from_openai"))
        client.create(**request_for("from_openai", AutoCache()))
    client.client.close()
    assert said(caplog) == []

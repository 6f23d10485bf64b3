"""What several calls together show is logged once, with the mend; and nothing where all is well."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import anthropic
import instructor
import openai
import pytest
from instructor.cache import AutoCache, DiskCache
from support.models import DictCache, User
from support.prompts import GUIDE
from support.recording import Recording
from support.versions import namespace, since_keys_can_fail, since_namespaces

from llm_cache_otel import Settings, instrument, reporter
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.interpret.sent_prompts import SentPrompts


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "llm_cache_otel"):
        yield caplog


def said(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "llm_cache_otel"]


class Asking:
    def __init__(
        self,
        provider: SimulatedProvider,
        recording: Recording,
        *,
        name: str = "mine",
        settings: Settings | None = None,
        **kwargs: Any,
    ) -> None:
        self.sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        client = instructor.from_openai(self.sdk, model="gpt-4o-mini", **kwargs)
        self.client = instrument(client, name=name, settings=settings, **recording.providers)

    def ask(self, question: str, system: str = "Answer in few words.", **more: Any) -> None:
        self.client.create(
            response_model=User,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": question}],
            **more,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sdk.close()


@since_namespaces
def test_a_disk_cache_without_a_namespace(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for _ in range(3):
        cache = DiskCache(str(tmp_path))
        with Asking(provider, recording, cache=cache) as asking:
            asking.ask("Who is Ada?")
            asking.ask("Who is Ada?")
        cache._cache.close()
    [message] = said(log)
    assert (
        "No other process and no other client can hit what this disk cache 'mine' holds" in message
    )
    assert 'cache_namespace="my-app"' in message


@since_namespaces
def test_clients_that_share_a_cache_without_a_namespace(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    cache = AutoCache()
    with Asking(provider, recording, cache=cache) as asking:
        asking.ask("Who is Ada?")
    assert said(log) == []
    for _ in range(2):
        with Asking(provider, recording, cache=cache) as asking:
            asking.ask("Who is Ada?")
    [message] = said(log)
    assert "Clients that share this memory cache 'mine' can't hit each other's entries" in message


@since_namespaces
def test_a_cache_is_advised_on_once_whatever_its_clients_are_called_and_whoever_reports(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    directories = tmp_path / "one", tmp_path / "other"
    for directory in directories:
        for number in range(3):
            settings = Settings(digest_salt=f"of a reporter of its own, {number}")
            cache = DiskCache(str(directory))
            with Asking(
                provider, recording, name=f"client {number}", settings=settings, cache=cache
            ) as asking:
                asking.ask("Who is Ada?")
            cache._cache.close()
    assert len(said(log)) == len(directories)
    assert all("No other process and no other client" in message for message in said(log))
    log.clear()
    shared, small = AutoCache(), AutoCache(maxsize=1)
    for number in range(4):
        name = f"client {number}"
        with Asking(provider, recording, name=name, cache=shared) as asking:
            asking.ask("Who is Ada?")
        with Asking(provider, recording, name=name, cache=small, **namespace("n")) as asking:
            for _ in range(12):
                asking.ask("Who is Ada?")
                asking.ask("Who is Bob?")
    found = sorted(said(log))
    assert len(found) == 2
    assert "Clients that share this memory cache 'client 1' can't hit" in found[0]
    assert "The memory cache 'client 0' of 1 entries is too small" in found[1]


@since_namespaces
def test_a_namespace_that_is_missing_is_told_of_though_more_has_changed(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    cache = AutoCache()
    with Asking(provider, recording, cache=cache) as asking:
        asking.ask("Who is Ada?")
        asking.ask("Who is Ada?", model="gpt-4o", timeout=30)
    assert said(log) == [], "it is the same client's"
    with Asking(provider, recording, cache=cache, **namespace("n")) as asking:
        asking.ask("Who is Ada?", model="gpt-4.1", timeout=31)
    assert said(log) == [], "it has one"
    with Asking(provider, recording, cache=cache) as asking:
        asking.ask("Who is Ada?", model="o3", timeout=32)
    reasons = recording.sums("llm_cache.requests", "llm_cache.reason")
    assert reasons == {"new_prompt": 1, "several_changed": 3}
    [message] = said(log)
    assert "Clients that share this memory cache 'mine' can't hit each other's entries" in message


@since_keys_can_fail
@pytest.mark.parametrize(
    ("part", "values"),
    [
        (
            "request.extra_headers.traceparent",
            [{"extra_headers": {"traceparent": f"00-{n}"}} for n in range(4)],
        ),
        ("request.timeout", [{"timeout": 10 + n} for n in range(4)]),
        ("request.user", [{"user": f"user-{n}"} for n in range(4)]),
    ],
)
def test_a_parameter_that_is_beside_the_point(
    part: str,
    values: list[dict[str, Any]],
    provider: SimulatedProvider,
    recording: Recording,
    log: pytest.LogCaptureFixture,
) -> None:
    with Asking(provider, recording, cache=AutoCache()) as asking:
        for more in values[:3]:
            asking.ask("Who is Ada?", **more)
        assert said(log) == [], "twice may be chance"
        asking.ask("Who is Ada?", **values[3])
    [message] = said(log)
    assert f"only because {part} differs each time" in message
    assert "Leave out of the request" in message


@since_keys_can_fail
def test_a_temperature_is_to_the_point(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording, cache=AutoCache()) as asking:
        for number in range(6):
            asking.ask("Who is Ada?", temperature=number / 10)
    assert said(log) == []


def test_a_prompt_whose_first_part_varies(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording) as asking:
        for minute in range(5):
            asking.ask(f"Who is number {minute}?", f"It is 10:{minute:02}. {GUIDE}")
    [message] = said(log)
    assert "Prompts for gpt-4o-mini begin differently each time, in message 0" in message
    assert "Put what changes" in message


def test_requests_that_are_nearly_alike(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording, cache=AutoCache(), **namespace("n")) as asking:
        for minute in range(5):
            asking.ask("Who is Ada?", f"You answer in a few words. It is 10:{minute:02} o'clock.")
    [message] = said(log)
    assert (
        "message 0 (around character 32) differs a little from an earlier one each time" in message
    )


def test_requests_that_may_well_be_other_questions(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    rules = [f"{word.capitalize()} comes first." for word in GUIDE.split()[:20]]
    with Asking(provider, recording, cache=AutoCache(), **namespace("n")) as asking:
        for person in ("Ada", "Bob", "Cy", "Di", "Ed"):
            asking.ask(f"{' '.join(rules)} Who is {person}?")
    reasons = recording.sums("llm_cache.requests", "llm_cache.reason")
    assert reasons == {"new_prompt": 1, "near_duplicate_prompt": 4}
    assert said(log) == []


@since_keys_can_fail
def test_what_is_rare_is_not_worth_a_word(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    """Though it has come three times: it has to be one call of eight."""
    with Asking(provider, recording, cache=AutoCache(), **namespace("n")) as asking:
        for number in range(30):
            asking.ask(f"Who is number {number}?")
        for number in range(4):
            asking.ask("Who is Ada?", timeout=30 + number)
        assert said(log) == []
        asking.ask("Who is Ada?", timeout=60)
        assert said(log) == []
        asking.ask("Who is Ada?", timeout=61)
    [message] = said(log)
    assert "only because request.timeout differs each time" in message


def test_a_prompt_just_below_the_minimum(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording) as asking:
        for number in range(4):
            asking.ask(f"Who is number {number}?", GUIDE[: 4 * 850])
        for number in range(4):
            asking.ask(f"Who is number {number}?", "Answer in few words.", model="gpt-4o")
    [message] = said(log)
    assert "Prompts for gpt-4o-mini are just too short for the provider's prompt cache" in message
    assert "it begins at 1,024" in message


def test_a_ttl_that_is_ignored(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording, **namespace("n")) as asking:
        asking.ask("Who is Ada?", cache=AutoCache(), cache_ttl=60)
        asking.ask("Who is Bob?", cache=AutoCache(), cache_ttl=60)
        asking.ask("Who is Bob?", cache=DictCache(), cache_ttl=60)  # which does note it
    [message] = said(log)
    assert "cache_ttl does nothing: this memory cache 'mine' ignores it" in message


def test_room_for_too_few(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    with Asking(provider, recording, cache=AutoCache(maxsize=4), **namespace("n")) as asking:
        for number in range(30):
            asking.ask(("Ada", "Bob", "Cy", "Di", "Ed", "Flo", "Gus")[number % 7])
            if number == 7 + 8:
                assert said(log) == [], "nine may be chance"
    [message] = said(log)
    assert "The memory cache 'mine' of 4 entries is too small" in message
    assert "AutoCache(maxsize=7)" in message
    log.clear()
    with Asking(provider, recording, cache=AutoCache(maxsize=7), **namespace("n")) as asking:
        for number in range(30):
            asking.ask(("Ada", "Bob", "Cy", "Di", "Ed", "Flo", "Gus")[number % 7])
    assert recording.sums("llm_cache.requests", "llm_cache.reason")["evicted"] == 23
    assert said(log) == []


@pytest.mark.parametrize("reads", [False, True])
def test_writes_that_are_never_read(
    provider: SimulatedProvider,
    recording: Recording,
    log: pytest.LogCaptureFixture,
    *,
    reads: bool,
) -> None:
    sdk = anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0)
    settings = Settings(prompt_retentions={"claude-sonnet-5-5": 1})
    client = instrument(instructor.from_anthropic(sdk), settings=settings, **recording.providers)
    for number in range(6):
        if number == 5:
            assert not [message for message in said(log) if "never reads" in message], "not yet"
            time.sleep(1.1)
        asked = f"{number if not reads else 0} {GUIDE[number * 7 :] if not reads else GUIDE}"
        client.create(
            model="claude-sonnet-5-5",
            response_model=User,
            max_tokens=100,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": asked, "cache_control": {"type": "ephemeral"}},
                        {"type": "text", "text": f"Who is number {number}?"},
                    ],
                }
            ],
        )
    sdk.close()
    unread = [message for message in said(log) if "never reads" in message]
    assert len(unread) == (not reads)


def test_nothing_is_said_where_all_is_well(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """200 calls of many kinds: new prompts, hits, misses of each reason, prompts read and short ones."""
    caches = AutoCache(maxsize=1_000), DiskCache(str(tmp_path))
    for cache in caches:
        with Asking(provider, recording, cache=cache, **namespace("n")) as asking:
            for number in range(25):
                person = f"the person whom they call {GUIDE[number * 50 : number * 50 + 40]}"
                for _ in range(2):
                    asking.ask(f"Who is {person}?", GUIDE)
                asking.ask(f"Where does {person} live?", GUIDE, model=("o3", "gpt-4o")[number % 2])
                asking.ask(f"Who is {person}?", temperature=0.5)
    caches[1]._cache.close()
    assert said(log) == []


def test_nothing_is_said_of_several_models_of_answers_in_turn(
    provider: SimulatedProvider, recording: Recording, log: pytest.LogCaptureFixture
) -> None:
    """Each has a tool of its own before the same long text: a change, and nothing to be moved."""
    models = [
        type(name, (User,), {"__doc__": f"A {name}."}) for name in ("One", "Two", "Three", "Four")
    ]
    with Asking(provider, recording) as asking:
        for number in range(20):
            asking.client.create(
                response_model=models[number % 4],
                messages=[
                    {"role": "system", "content": GUIDE},
                    {"role": "user", "content": f"Who is number {number}?"},
                ],
            )
    outcomes = recording.sums("llm_cache.prompt.requests", "llm_cache.prompt.outcome")
    assert outcomes == {"miss": 4, "read": 16}
    assert said(log) == []

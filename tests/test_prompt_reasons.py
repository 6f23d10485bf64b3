"""What a provider's prompt cache did for real calls, and why it did no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import instructor
import openai
import pytest
from support.models import User
from support.prompts import GUIDE, prose
from support.recording import Recording

from llm_cache_otel import Settings, instrument, reporter
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.interpret.sent_prompts import SentPrompts

MARKED = {"cache_control": {"type": "ephemeral"}}
Said = tuple[Any, Any]


class Clock:
    """The provider's."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[SimulatedProvider]:
    with SimulatedProvider(clock=clock) as provider:
        yield provider


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())


def attempts(recording: Recording) -> list[Mapping[str, Any]]:
    spans = [span for span in recording.spans() if span.name.startswith("chat")]
    recording.clear()
    return [span.attributes or {} for span in spans]


def said(recording: Recording) -> Said:
    [attempt] = attempts(recording)
    return attempt["llm_cache.prompt.outcome"], attempt.get("llm_cache.prompt.reason")


class OpenAI:
    def __init__(self, provider: SimulatedProvider, recording: Recording, **settings: Any) -> None:
        self.sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        self._recording = recording
        self._client = instrument(
            instructor.from_openai(self.sdk), settings=Settings(**settings), **recording.providers
        )

    def ask(self, system: str, user: str, **more: Any) -> Said:
        self.send(system, user, **more)
        return said(self._recording)

    def send(self, system: str, user: str, *, model: str = "gpt-4o-mini", **more: Any) -> None:
        self._client.create(
            model=model,
            response_model=User,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
            **more,
        )


@pytest.fixture
def client(provider: SimulatedProvider, recording: Recording) -> Iterator[OpenAI]:
    client = OpenAI(provider, recording)
    yield client
    client.sdk.close()


def test_a_prompt_that_is_too_short(client: OpenAI) -> None:
    short = GUIDE[:2_000]
    assert client.ask(short, "Who is Ada?") == ("ineligible", "below_minimum")
    assert client.ask(short, "Who is Ada?") == ("ineligible", "below_minimum")


def test_first_seen_and_then_read(client: OpenAI) -> None:
    assert client.ask(GUIDE, "Who is Ada?") == ("miss", "first_seen")
    assert client.ask(GUIDE, "Who is Bob?") == ("read", None)
    assert client.ask(prose(7, 160), "Who is Bob?") == ("miss", "first_seen")


def test_each_model_and_each_key_has_prompts_of_its_own(client: OpenAI) -> None:
    def ask(key: str, **more: Any) -> Said:
        return client.ask(GUIDE, "Who is Ada?", extra_body={"prompt_cache_key": key}, **more)

    assert ask("a") == ("miss", "first_seen")
    assert ask("a") == ("read", None)
    assert ask("b") == ("miss", "first_seen")
    assert ask("a", model="gpt-4o") == ("miss", "first_seen")


def test_a_schema_is_a_part_of_the_prompt(client: OpenAI, recording: Recording) -> None:
    """Tools come first: another response model, and nothing behind it is read."""
    client.send(GUIDE, "Who is Ada?")
    recording.clear()

    class Other(User):
        city: str

    client._client.create(
        model="gpt-4o-mini",
        response_model=Other,
        messages=[{"role": "system", "content": GUIDE}, {"role": "user", "content": "Who?"}],
    )
    [attempt] = attempts(recording)
    assert attempt["llm_cache.prompt.reason"] == "prefix_changed"
    assert attempt["llm_cache.divergence.part"] == "tools"
    assert "llm_cache.divergence.message" not in attempt


def test_what_lay_idle_has_expired(
    provider: SimulatedProvider, recording: Recording, clock: Clock
) -> None:
    client = OpenAI(provider, recording, prompt_retentions={"gpt-4o-mini": 0.5})
    assert client.ask(GUIDE, "Who is Ada?") == ("miss", "first_seen")
    clock.seconds += 400
    time.sleep(0.6)
    assert client.ask(GUIDE, "Who is Ada?") == ("miss", "expired")
    assert client.ask(GUIDE, "Who is Ada?") == ("read", None)
    client.sdk.close()


def test_what_is_gone_sooner_is_unexplained(
    client: OpenAI, clock: Clock, recording: Recording
) -> None:
    client.send(GUIDE, "Who is Ada?")
    recording.clear()
    clock.seconds += 400
    client.send(GUIDE, "Who is Ada?")
    [attempt] = attempts(recording)
    assert attempt["llm_cache.prompt.reason"] == "unexplained"
    input_tokens = attempt["gen_ai.usage.input_tokens"]
    assert 0.95 * input_tokens <= attempt["llm_cache.prompt.expected_tokens"] <= input_tokens


def test_a_day_if_that_is_asked_for(
    provider: SimulatedProvider, recording: Recording, clock: Clock
) -> None:
    client = OpenAI(provider, recording, prompt_retentions={"gpt-4o-mini": 0.1})
    asked = {"extra_body": {"prompt_cache_retention": "24h"}}  # which older SDKs know only so
    assert client.ask(GUIDE, "Who is Ada?", **asked) == ("miss", "first_seen")
    clock.seconds += 100_000
    time.sleep(0.2)
    assert client.ask(GUIDE, "Who is Ada?", **asked) == ("miss", "unexplained")
    client.sdk.close()


def test_those_who_send_the_same_at_once_know_nothing_of_each_other(
    client: OpenAI, provider: SimulatedProvider, recording: Recording
) -> None:
    provider.cues.add(*[Cue(delay=0.5)] * 3)
    threads = [threading.Thread(target=client.send, args=(GUIDE, "Who is Ada?")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = attempts(recording)
    assert len(found) == 3
    # The simulated provider caches at once, and the last of three may read.
    assert {each.get("llm_cache.prompt.reason") for each in found} <= {"first_seen", None}
    assert all("llm_cache.prompt.expected_tokens" not in each for each in found)
    assert client.ask(GUIDE, "Who is Ada?") == ("read", None)


def test_a_provider_that_says_nothing(client: OpenAI, provider: SimulatedProvider) -> None:
    """A stream without usage."""
    stream = client._client.create_partial(
        model="gpt-4o-mini",
        response_model=User,
        messages=[{"role": "system", "content": GUIDE}, {"role": "user", "content": "Who?"}],
    )
    list(stream)
    assert said(client._recording) == ("unreported", None)


def test_the_users_own_minimum(provider: SimulatedProvider, recording: Recording) -> None:
    client = OpenAI(provider, recording, prompt_minimums={"gpt-4o-mini": 100_000})
    assert client.ask(GUIDE, "Who is Ada?") == ("ineligible", "below_minimum")
    assert client.ask(GUIDE, "Who is Ada?") == ("read", None), "what is read was long enough"
    client.sdk.close()


class Anthropic:
    def __init__(self, provider: SimulatedProvider, recording: Recording) -> None:
        self.sdk = anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0)
        self._recording = recording
        client = instructor.from_anthropic(self.sdk)
        self._client = instrument(client, **recording.providers)

    def send(self, system: Any, user: Any, **more: Any) -> Any:
        _, answer = self._client.create_with_completion(
            model="claude-sonnet-5-5",
            response_model=User,
            system=system,
            messages=[{"role": "user", "content": user}],
            max_tokens=100,
            **more,
        )
        return answer

    def ask(self, system: Any, user: Any, **more: Any) -> Said:
        self.send(system, user, **more)
        return said(self._recording)


@pytest.fixture
def claude(provider: SimulatedProvider, recording: Recording) -> Iterator[Anthropic]:
    client = Anthropic(provider, recording)
    yield client
    client.sdk.close()


def marked(text: str, **more: str) -> list[dict[str, Any]]:
    control = {"type": "ephemeral", **more}
    return [{"type": "text", "text": text, "cache_control": control}]


def test_without_a_marker_nothing_is_cached(claude: Anthropic) -> None:
    assert claude.ask(GUIDE, "Who is Ada?") == ("ineligible", "unmarked")
    assert claude.ask(GUIDE[:1_000], "Who is Ada?") == ("ineligible", "below_minimum")


def test_a_marker_where_there_is_too_little_before_it(claude: Anthropic) -> None:
    """Though the whole prompt is long enough."""
    assert claude.ask(marked(GUIDE[:1_000]), GUIDE) == ("ineligible", "below_minimum")


def test_what_is_marked_is_written_and_read(claude: Anthropic) -> None:
    assert claude.ask(marked(GUIDE), "Who is Ada?") == ("write", "first_seen")
    assert claude.ask(marked(GUIDE), "Who is Bob?") == ("read", None)
    assert claude.ask(marked(f"10:15. {GUIDE}"), "Who is Bob?") == ("write", "prefix_changed")


def test_a_marker_for_all(claude: Anthropic) -> None:
    """Anthropic's automatic caching marks what comes last."""
    assert claude.ask(GUIDE, "Who is Ada?", **MARKED) == ("write", "first_seen")
    assert claude.ask(GUIDE, "Who is Ada?", **MARKED) == ("read", None)
    # Of this one nothing was marked before where the texts part.
    assert claude.ask(GUIDE, "Who is Bob?", **MARKED) == ("write", "unexplained")


def test_an_hour_and_five_minutes(
    provider: SimulatedProvider, recording: Recording, clock: Clock, claude: Anthropic
) -> None:
    assert claude.ask(marked(GUIDE, ttl="1h"), "Who is Ada?") == ("write", "first_seen")
    clock.seconds += 1_000
    assert claude.ask(marked(GUIDE, ttl="1h"), "Who is Ada?") == ("read", None)
    clock.seconds += 4_000
    # By our own clock it is no hour yet.
    assert claude.ask(marked(GUIDE, ttl="1h"), "Who is Ada?") == ("write", "unexplained")


@pytest.mark.parametrize("streamed", [False, True])
def test_what_anthropic_itself_says_has_changed(
    streamed: bool, claude: Anthropic, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a prompt that this process has not sent."""
    first = claude.send(marked(GUIDE), "Who is Ada?", diagnostics={"previous_message_id": None})
    recording.clear()
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())
    other = instrument(
        instructor.from_anthropic(claude.sdk),
        settings=Settings(digest_salt="so that it is told by another reporter"),
        **recording.providers,
    )
    ask = other.create_partial if streamed else other.create
    answer = ask(
        model="claude-sonnet-5-5",
        response_model=User,
        system=marked(prose(9, 160)),
        messages=[{"role": "user", "content": "Who is Ada?"}],
        max_tokens=100,
        diagnostics={"previous_message_id": first.id},
    )
    if streamed:
        list(answer)
    [attempt] = attempts(recording)
    assert attempt["llm_cache.prompt.outcome"] == "write"
    assert attempt["llm_cache.prompt.reason"] == "prefix_changed"
    # The tool is another where parts of an answer are wanted.
    assert attempt["llm_cache.divergence.part"] == ("tools" if streamed else "system")
    assert "llm_cache.divergence.offset" not in attempt


def test_each_outcome_is_counted(client: OpenAI, recording: Recording) -> None:
    for user in ("Ada", "Bob", "Cy"):
        client.send(GUIDE, f"Who is {user}?")
    client.send("Short.", "Who is Ada?")
    counted = {
        (
            point.attributes["llm_cache.prompt.outcome"],
            point.attributes.get("llm_cache.prompt.reason"),
        ): point.value
        for metric, point in recording.raw_points()
        if metric.name == "llm_cache.prompt.requests"
    }
    assert counted == {
        ("miss", "first_seen"): 1,
        ("read", None): 2,
        ("ineligible", "below_minimum"): 1,
    }

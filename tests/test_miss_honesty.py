"""What only looks like a reason is none: real calls that a hasty diagnosis would be wrong of."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import instructor
import openai
import pytest
from instructor.cache import AutoCache
from support.models import DictCache, User
from support.prompts import GUIDE, prose
from support.recording import Recording
from support.versions import namespace, since_keys_can_fail

from llm_cache_otel import instrument, reporter
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.facts import (
    AnswerKind,
    AttemptFacts,
    Bill,
    CacheGiven,
    CallFacts,
    Divergence,
    InferenceRequest,
    InferenceResponse,
    Interval,
    PromptReason,
    Section,
    SentPrompt,
    Usage,
)
from llm_cache_otel.interpret import sent_prompts
from llm_cache_otel.interpret.histories import histories
from llm_cache_otel.interpret.prompt_cache import PromptCaches
from llm_cache_otel.interpret.prompt_rules import PromptRules
from llm_cache_otel.interpret.sent_prompts import SentPrompts
from llm_cache_otel.observe import instructor_api

Said = tuple[Any, Any]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "sent_prompts", SentPrompts())


class Asking:
    def __init__(
        self, provider: SimulatedProvider, recording: Recording, cache: Any = None, **kwargs: Any
    ) -> None:
        sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        self.cache = AutoCache() if cache is None else cache
        client = instructor.from_openai(sdk, cache=self.cache, **namespace("n"), **kwargs)
        self._client = instrument(client, **recording.providers)
        self._recording = recording
        self.close = sdk.close

    def __call__(self, messages: Any = "Who is Ada?", **more: Any) -> Mapping[str, Any]:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        request = {"model": "gpt-4o-mini", "response_model": User, "messages": messages, **more}
        self._recording.clear()
        self._client.create(**request)
        [span] = [each for each in self._recording.spans() if each.name.startswith("create")]
        return span.attributes or {}

    def attempt(self) -> Mapping[str, Any]:
        [span] = [each for each in self._recording.spans() if each.name.startswith("chat")]
        return span.attributes or {}


@pytest.fixture
def ask(provider: SimulatedProvider, recording: Recording) -> Iterator[Asking]:
    asking = Asking(provider, recording)
    yield asking
    asking.close()


def reason(said: Mapping[str, Any]) -> Said:
    return said["llm_cache.outcome"], said.get("llm_cache.reason")


@since_keys_can_fail
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"stream": False}, "parameters_changed"),
        ({"extra_headers": {}}, "parameters_changed"),
        ({"strict": False}, "parameters_changed"),
        ({"text": {"verbosity": "low"}, "model": "gpt-4o"}, "several_changed"),
        ({"tool_choice": "auto", "model": "gpt-4o"}, "model_changed"),  # Instructor's own is sent
        ({"max_retries": 2, "model": "gpt-4o"}, "model_changed"),
        ({"autodetect_images": False, "model": "gpt-4o"}, "model_changed"),
    ],
)
def test_what_is_in_the_key_and_what_is_not(
    more: dict[str, Any], expected: str, ask: Asking
) -> None:
    if "text" in more:  # which the SDK's chat completions do not know
        more = {**more, "extra_body": more["text"]}
        del more["text"]
    ask()
    assert reason(ask(**more)) == ("miss", expected)


@since_keys_can_fail
def test_two_parameters_are_not_one(ask: Asking) -> None:
    ask(temperature=0.5, seed=1)
    said = ask(temperature=0.7, seed=2)
    assert reason(said) == ("miss", "parameters_changed")
    assert "llm_cache.divergence.part" not in said
    assert said["llm_cache.divergence.parts"] == ("request.temperature", "request.seed")


@since_keys_can_fail
def test_a_parameter_that_is_left_out_is_not_named(ask: Asking) -> None:
    """Of an earlier request no names are kept; and one is named only where all can be."""
    ask(temperature=0.5, seed=1)
    said = ask(temperature=0.7)
    assert reason(said) == ("miss", "parameters_changed")
    assert not [name for name in said if name.startswith("llm_cache.divergence.")]


@since_keys_can_fail
def test_several_that_changed_are_named_of_the_latest(ask: Asking) -> None:
    ask(model="o3", timeout=30)
    ask()
    said = ask(model="gpt-4o", timeout=31, context={"of": "Ada"})
    assert reason(said) == ("miss", "several_changed")
    parts = "model", "request.timeout", "context"
    assert said["llm_cache.divergence.parts"] == parts
    assert "llm_cache.divergence.part" not in said
    said = ask(model="gpt-4.1", context={"of": "Bob"})
    assert said["llm_cache.divergence.parts"] == ("model", "parameters", "context")
    said = ask("Who is Bob?", model="o3")
    assert not [name for name in said if name.startswith("llm_cache.divergence.")]


@since_keys_can_fail
def test_names_are_said_so_that_they_can_be_sent(ask: Asking, recording: Recording) -> None:
    """What UTF-8 can't hold would cost the batch that it is sent with."""
    ask()
    recording.clear()
    with pytest.raises(instructor_api.InstructorRetryException):  # no header is called so
        ask(extra_headers={"x-one": "1", "x-\udc80": "2"})
    [span] = [each for each in recording.spans() if each.name.startswith("create")]
    parts = "request.extra_headers.x-one", "request.extra_headers.x-?"
    assert (span.attributes or {})["llm_cache.divergence.parts"] == parts


def test_a_marker_is_a_part_of_a_message(ask: Asking) -> None:
    plain = [{"role": "user", "content": [{"type": "text", "text": "Who is Ada?"}]}]
    ask(plain)
    marked = {**plain[0]["content"][0], "cache_control": {"type": "ephemeral"}}
    assert reason(ask([{"role": "user", "content": [marked]}])) == ("miss", "new_prompt")


@since_keys_can_fail
def test_what_is_not_told_apart_is_not_named(ask: Asking) -> None:
    """The texts are the same, and all parts; only the key knows that the message is written otherwise."""
    ask([{"role": "user", "content": "Who is Ada?"}])
    assert reason(ask([{"role": "user", "content": ["Who is Ada?"]}])) == ("miss", None)


TICKET = (
    "You are a helper who sorts tickets. Read the ticket. Say who should answer it. Be brief. "
    "Never make anything up. The ticket: "
)
DIFFERENT = {
    "tickets in one template": [
        TICKET + "My parcel has not come.",
        TICKET + "I was charged twice.",
        TICKET + "The app closes by itself.",
    ],
    "numbers that matter": [
        f"Convert {number} degrees Celsius to Fahrenheit." for number in (35, 78, 12)
    ],
    "the same words otherwise": [
        "Does the manager of the branch in Hamburg know the driver from Berlin",
        "Does the manager of the branch in Berlin know the driver from Hamburg",
    ],
    "a word that matters": [
        "Translate into French that I am angry about the delay",
        "Translate into German that I am angry about the delay",
    ],
    "pictures": [
        [
            {"type": "text", "text": "What is this a picture of, and who may have taken it?"},
            {"type": "image_url", "image_url": {"url": f"https://pictures.example/{name}.png"}},
        ]
        for name in ("a", "zebra")
    ],
    "documents of like words": [prose(seed, 200) for seed in range(6)],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_question_is_new(what: str, ask: Asking, caplog: pytest.LogCaptureFixture) -> None:
    for content in DIFFERENT[what]:
        assert reason(ask([{"role": "user", "content": content}])) == ("miss", "new_prompt")
        assert ask.attempt().get("llm_cache.prompt.reason") != "prefix_changed"
    assert not [
        each for each in caplog.records if each.name == "llm_cache_otel" and each.levelno > 20
    ]


def test_only_the_role_has_changed() -> None:
    sent = SentPrompts()
    for number, role in enumerate(("system", "developer")):
        section = Section("messages", GUIDE, role, 0)
        compared = sent.compare_and_add(
            SentPrompt(1, (section,)), Interval(number, number), None, is_marked=False
        )
    assert compared.diverges == Divergence("messages", 0)
    assert (compared.shared, compared.moved) == (0, len(GUIDE))


def test_a_prompt_that_was_forgotten_here_has_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_prompts, "_MOST_PREFIXES", 50)
    sent = SentPrompts()

    def compare(seed: int, now: int) -> sent_prompts.Comparison:
        section = Section("messages", prose(seed, 150), "user", 0)
        prompt = SentPrompt(1, (section,))
        return sent.compare_and_add(prompt, Interval(now, now), None, is_marked=False)

    compare(0, 0)
    for seed in range(1, 5):
        compare(seed, seed)
    again = compare(0, 10)
    assert (again.moved, again.diverges) == (0, None)


def test_little_that_moved_explains_nothing() -> None:
    """A long text that is not marked, another document each time, and a marker at the very end."""
    sent = SentPrompts()
    caches = PromptCaches(PromptRules({}, {}), sent)
    reasons = []
    for seed in range(2):
        sections = (
            Section("system", GUIDE),
            Section("messages", prose(seed, 100), "user", 0),
            Section("messages", "Summarise.", message=0, start=1_000, retention=0.0),
        )
        attempt = AttemptFacts(
            Interval(seed, seed),
            InferenceRequest("chat", "anthropic", "claude-sonnet-5-5"),
            InferenceResponse(),
            prompt=SentPrompt(1, sections),
        )
        call = CallFacts(
            Interval(seed, seed), CacheGiven.NOTHING, AnswerKind.MODEL, attempts=(attempt,)
        )
        [found] = caches.of_attempts(
            call, (Bill(Usage(input=4_500, cache_read=0, cache_write=4_500)),)
        )
        assert found is not None
        reasons.append(found.reason)
    assert reasons[1] is not PromptReason.PREFIX_CHANGED


def test_pictures_are_no_tokens_that_can_be_counted(ask: Asking) -> None:
    picture = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "QUJD" * 20_000},
    }
    reasons = []
    for text, question in ((GUIDE, "Who?"), (GUIDE, "Where?"), (f"It is 10:15. {GUIDE}", "Who?")):
        texts = [{"type": "text", "text": each} for each in (text, question)]
        ask([{"role": "user", "content": [texts[0], picture, texts[1]]}])
        assert "llm_cache.prompt.expected_tokens" not in ask.attempt()
        reasons.append(ask.attempt().get("llm_cache.prompt.reason"))
    assert reasons == ["first_seen", None, "unexplained"], "the second was read"


@pytest.mark.parametrize(
    "account",
    [
        {"extra_body": {"prompt_cache_key": "two"}},
        {"extra_headers": {"Authorization": "Bearer two"}},
    ],
)
def test_each_account_has_prompts_of_its_own(account: dict[str, Any], ask: Asking) -> None:
    ask(GUIDE)
    ask(f"{GUIDE} And who is Ada?", **account)
    assert ask.attempt().get("llm_cache.prompt.reason") in ("first_seen", None)
    assert "llm_cache.prompt.expected_tokens" not in ask.attempt()


def test_a_request_too_large_to_keep_costs_no_other(ask: Asking) -> None:
    ask()
    ask([{"role": "user", "content": f"Line {number} of many."} for number in range(5_000)])
    assert reason(ask(model="gpt-4o")) == ("miss", "model_changed")


def test_a_history_goes_with_its_cache(provider: SimulatedProvider, recording: Recording) -> None:
    asking = Asking(provider, recording)
    asking()
    gone = weakref.ref(asking.cache)
    history = weakref.ref(histories.of(asking.cache, None, lambda: None))
    asking.close()
    del asking
    gc.collect()
    assert gone() is None
    assert history() is None


class Text(str):
    """Of the host's own, and not to be asked anything."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("nobody has to ask")


class Lazy:
    """A proxy that would open what it stands for."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("nobody has to ask")


def test_what_the_host_has_of_its_own_is_not_disturbed(
    provider: SimulatedProvider, recording: Recording
) -> None:
    cache = DictCache()
    cache.held = Lazy()  # type: ignore[attr-defined]
    asking = Asking(provider, recording, cache)
    asked = [{"role": "user", "content": Text("Who is Ada?")}]
    assert reason(asking(asked)) == ("miss", "new_prompt")
    assert reason(asking(asked)) == ("hit", None)
    asking.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as on Unix")
def test_a_signal_handler_that_calls_never_waits_for_what_it_interrupts() -> None:
    program = textwrap.dedent(
        """
        import faulthandler, signal, sys, time
        faulthandler.dump_traceback_later(30, exit=True)
        import instructor, openai
        from llm_cache_otel import instrument
        from llm_cache_otel.cli.simulate import SimulatedProvider
        from opentelemetry.metrics import NoOpMeterProvider
        from opentelemetry.trace import NoOpTracerProvider
        from support.models import DictCache, User
        from support.prompts import prose

        def completion(**_):
            return answer

        with SimulatedProvider() as provider:
            sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k")
            answer = sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}],
                response_format={"type": "json_schema", "json_schema": {
                    "name": "User", "schema": User.model_json_schema()}})
            create = instructor.patch(create=completion, mode=instructor.Mode.JSON)
            client = instructor.Instructor(None, create=create)
            instrument(client, tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())
            cache, handled = DictCache(), []

            def ask(text):
                client.create(model="m", messages=[{"role": "user", "content": text}],
                              response_model=User, cache=cache)

            def handler(*_):
                ask(f"from the handler {len(handled)} " + prose(7, 20))
                handled.append(1)
                signal.setitimer(signal.ITIMER_REAL, 0.01)

            ask("so that Instructor has imported what it does at the first call")
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            ends, number = time.monotonic() + 4, 0
            while time.monotonic() < ends:
                number += 1
                ask(f"{number} " + prose(number, 120))
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(len(handled), number)
            sdk.close()
        """
    )
    # Without coverage, whose tracer waits for a lock that a handler may find taken.
    inherited = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert "swallowed" not in ended.stderr
    handled, called = map(int, ended.stdout.split())
    assert handled > 20
    assert called > 20

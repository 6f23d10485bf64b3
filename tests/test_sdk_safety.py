"""Every function of ours fails inside live calls of the SDKs: the program does not notice."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import openai.lib.streaming.chat._completions
import pytest
from support.recording import Recording
from support.sabotage import FUNCTIONS, Broken
from support.sdk_ways import KINDS, Answer, awaited, close, everything

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.later import later

TRUSTED = {
    # What finds out whether there is anything to observe, and runs the SDK's code between two guards.
    *(f"observe.sdk_clients.SdkClients.{name}" for name in ("watch_of", "_get", "_drop")),
    *("observe.sdk_methods._Stainless.owner", "observe.sdk_methods._Genai.owner"),
    *("observe.sdk_clients._tapped", "observe.sdk_clients._left"),
    "observe.stream.host_closed",
}
AT_THE_DOOR = {
    *(f"observe.sdk_clients.SdkClients.{name}" for name in ("__init__", "is_given", "add")),
    *(f"observe.sdk_clients.SdkClients.{name}" for name in ("remove", "_clear_away")),
    *("observe.sdk_methods._Genai.methods", "observe.sdk_clients._asking"),
    *("observe.sdk_clients._copying", "observe.sdk_clients._Wrapped.undo"),
}
OURS = ("observe.sdk_clients.", "observe.sdk_methods.", "observe.sdk_call.")
BESIDE = {
    *("observe.attempt.Attempt.heard", "observe.answers.body_of", "observe.answers.is_of_several"),
    "observe.instructor_api.provider_at",
}
SHARED = {
    *("observe.call.Call.__init__", "observe.call.Call._finish"),
    *("observe.attempt.Attempt.__init__", "observe.step.Surroundings.enter"),
    *("observe.attempt.Attempt.returned", "observe.stream.watch_in_place"),
    "emit.company.is_suppressed",
}
"""What calls of Instructor's go through too, and is broken there as well: test_host_safety.py."""

SABOTAGED = sorted(
    {name for name in FUNCTIONS if name.startswith(OURS)} - TRUSTED - AT_THE_DOOR | BESIDE | SHARED
)
Observe = Callable[..., None]


async def program(provider: SimulatedProvider, observe: Observe, asynchronous: bool) -> list[Any]:
    """A bit of everything; returns all that the program sees."""
    seen: list[Any] = []
    chat, claude = KINDS["openai"], KINDS["anthropic"]
    gemini = KINDS["genai, async" if asynchronous else "genai"]
    made = [kind.make(provider.url, asynchronous) for kind in (chat, claude, gemini)]
    openai_client, anthropic_client, _ = made
    observe(*made)
    for kind, client in zip((chat, claude, gemini), made, strict=True):
        request = kind.request("Be brief.", "Who?")
        for way, ask in kind.ways.items():
            answer = await ask(client, request)
            answers = answer if isinstance(answer, list) else [answer]
            seen.append((way, [type(each).__name__ for each in answers]))
        provider.cues.add(Cue(status=500))
        try:
            await kind.ways["create"](client, request)
        except Exception as error:
            seen.append((type(error), str(error)))
    request = chat.request("Be brief.", "Who?")
    completions = openai_client.chat.completions
    stream = await awaited(completions.create(**request, stream=True))
    seen.append(type(await anext(stream) if asynchronous else next(stream)))
    await awaited(stream.close())
    derived = openai_client.with_options(max_retries=0)
    derived_stream = await awaited(derived.chat.completions.create(**request, stream=True))
    seen.append(len(await everything(derived_stream)))
    provider.cues.add(Cue(answer={"name": 3}))
    try:
        await awaited(completions.parse(**request, response_format=Answer))
    except Exception as error:
        seen.append((type(error), str(error)))
    manager = anthropic_client.messages.stream(**claude.request("Be brief.", "Who?"))
    seen.append(type(manager))
    entering = manager.__aenter__() if asynchronous else manager.__enter__()
    stream = await awaited(entering)
    seen.append(type(stream))
    await awaited(stream.close())
    try:
        await awaited(openai_client.models.retrieve("any"))  # no inference
    except Exception as error:
        seen.append((type(error), str(error)))
    for client in made:
        await close(client)
    return seen


def both(provider: SimulatedProvider, observe: Observe) -> list[Any]:
    """Sync and async, in a context of their own: what is broken may be what would leave it again."""
    own = contextvars.copy_context()
    run = lambda asynchronous: asyncio.run(program(provider, observe, asynchronous))  # noqa: E731
    return [*own.run(run, False), *own.run(run, True)]


def instrument_early(targets: tuple[Any, ...], recording: Recording) -> None:
    """Before a part of the SDK is imported, which it imports when it is first used."""
    late = openai.lib.streaming.chat._completions
    with patch.dict(sys.modules):
        del sys.modules[late.__name__]
        for target in targets:
            instrument(target, **recording.providers)


@pytest.fixture
def may_fail_inside() -> bool:
    return True


@pytest.fixture(scope="module")
def without_us(simulated_provider: SimulatedProvider) -> list[Any]:
    return both(simulated_provider, lambda *targets: None)


@pytest.mark.parametrize("name", SABOTAGED)
def test_the_program_sees_what_it_saw_without_us(
    name: str,
    provider: SimulatedProvider,
    recording: Recording,
    without_us: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    gc.collect()
    assert later.wait(5), "what earlier clients have left is put back"
    sabotage = Broken(FUNCTIONS[name])

    def observe(*targets: Any) -> None:
        sabotage.stop()
        instrument_early(targets, recording)
        sabotage.start()

    errors = ("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
    try:
        seen = both(provider, observe)
        later.wait(5)
        counted = recording.sums(*errors)
    finally:
        sabotage.stop()
    assert seen == without_us
    assert sabotage.runs, "is it dead, or does the program above miss it?"
    counted = counted or recording.sums(*errors)
    assert counted, f"{name} failed {sabotage.runs} times, and nobody counted it"


def test_the_program_is_observed_where_nothing_fails(
    provider: SimulatedProvider, recording: Recording, without_us: list[Any]
) -> None:
    before = provider.ledger.requests

    def observe(*targets: Any) -> None:
        instrument_early(targets, recording)

    assert both(provider, observe) == without_us
    later.wait(5)
    counted = recording.sums("llm_cache.requests", "llm_cache.outcome")
    assert counted == {"off": provider.ledger.requests - before}


def test_what_is_trusted_or_at_the_door_exists() -> None:
    """So that the lists above can't go stale."""
    assert set(FUNCTIONS) >= TRUSTED | AT_THE_DOOR | BESIDE | SHARED

"""What strikes at any instant, a signal or an interrupt, is the host's, and takes nothing of ours with it."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from instructor.cache import AutoCache
from opentelemetry import trace
from support.clients import request_for
from support.interrupts import InterruptAfterCall, InterruptAt
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import instrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit import scope
from llm_cache_otel.later import Later
from llm_cache_otel.observe.spending import current_spending
from llm_cache_otel.observe.step import NOWHERE, Surroundings, surroundings


class SoftTimeLimit(Exception):
    """As Celery's, which a handler of a signal raises."""


def strike(*_: object) -> None:
    raise SoftTimeLimit


def test_an_interrupt_leaves_nothing_behind(
    provider: SimulatedProvider, recording: Recording
) -> None:
    """At the entry of each function of ours that a hit runs through: later calls are counted all the same."""
    client, cache = make_client(provider), AutoCache()
    instrument(client, **recording.providers)
    request = request_for("from_openai", cache)
    client.create(**request)
    recording.clear()
    interrupted, struck, number = 0, True, 0
    while struck:
        number += 1
        interrupt = InterruptAt(number)
        sys.setprofile(interrupt)
        try:
            client.create(**request)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.setprofile(None)
        struck = interrupt.struck
        recording.clear()
        client.create(**request)
        assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"hit": 1}, (
            interrupt.where
        )
        assert surroundings.get(NOWHERE).call is None, interrupt.where
        recording.clear()
    assert interrupted > 25
    client.client.close()


def test_an_interrupt_while_calls_are_told_keeps_nobody_else_from_telling() -> None:
    """Wherever it strikes, by whomever they are told."""
    own, done = Later(), count()
    struck, number = True, 0
    while struck:
        number += 1
        for _ in range(2):
            own.put(lambda: next(done))
        own.close_with(own, lambda: next(done))
        interrupt = InterruptAfterCall(number)
        before = sys.gettrace()
        sys.settrace(interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            own.wait(1)
        sys.settrace(before)
        struck = interrupt.struck
        with ThreadPoolExecutor(1) as another:
            assert another.submit(own.wait, 0).result(), number
    assert number > 30


def test_an_interrupt_in_a_function_leaves_nothing_behind(recording: Recording) -> None:
    """At the entry of each function of ours that a run of it passes through."""
    observed = instrument(functools.cache(lambda number: number), **recording.providers)
    interrupted, struck, number = 0, True, 0
    while struck:
        number += 1
        interrupt = InterruptAt(number)
        sys.setprofile(interrupt)
        try:
            observed(number)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.setprofile(None)
        struck = interrupt.struck
        assert current_spending.get() is None, interrupt.where
        recording.clear()
        observed(-number)
        assert recording.sums("llm_cache.requests", "llm_cache.outcome") == {"miss": 1}, (
            interrupt.where
        )
    assert interrupted > 20


def test_what_an_interrupt_leaves_current_as_it_is_entered_is_left(
    provider: SimulatedProvider, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It strikes when the context variable is set, and what would take that back is not kept yet."""

    def struck(set_it: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def strikes(value: Any) -> Any:
            set_it(value)
            monkeypatch.undo()
            signal.raise_signal(signal.SIGUSR1)

        return strikes

    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)
    before = trace.get_current_span()
    handler = signal.signal(signal.SIGUSR1, strike)
    monkeypatch.setattr(scope, "attach", struck(scope.attach))
    with pytest.raises(SoftTimeLimit):
        client.create(**request_for("from_openai"))
    signal.signal(signal.SIGUSR1, handler)
    assert trace.get_current_span() is before
    assert surroundings.get(NOWHERE) is NOWHERE

    call = Surroundings()
    surroundings.set(call)
    call.leave()
    assert surroundings.get() is NOWHERE
    client.client.close()

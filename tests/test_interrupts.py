"""What strikes at any instant, a signal or an interrupt, is the host's, and takes nothing of ours with it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
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

from llm_cache_otel import flush, instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.emit import scope
from llm_cache_otel.guard import Guard
from llm_cache_otel.later import Later
from llm_cache_otel.observe.spending import current_spending
from llm_cache_otel.observe.step import NOWHERE, Surroundings, surroundings


class SoftTimeLimit(Exception):
    """As Celery's, which a handler of a signal raises."""


def strike(*_: object) -> None:
    raise SoftTimeLimit


class Striker:
    def strike(self, *_: object) -> None:
        raise SoftTimeLimit

    __call__ = strike


def strike_once(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SoftTimeLimit


def strike_any(*given: Any, **_: Any) -> None:
    signal.signal(given[0], signal.SIG_DFL)
    raise SoftTimeLimit


HANDLERS: dict[str, Callable[..., None]] = {
    "a function": strike,
    "a method": Striker().strike,
    "an object": Striker(),
    "a partial": functools.partial(strike, 1),
    "one that is none any more": strike_once,
    "one that takes anything, and is none any more": strike_any,
}


@pytest.fixture(params=HANDLERS)
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("alarm")
def test_what_a_signal_handler_raises_is_never_taken_for_ours() -> None:
    reported: list[str] = []
    guard = Guard(lambda where, _: reported.append(where))
    with pytest.raises(SoftTimeLimit), guard("here"):
        signal.raise_signal(signal.SIGUSR1)
    assert reported == []
    with guard("here"):
        raise ValueError
    assert reported == ["here"]


def test_what_only_looks_at_who_called_it_is_no_signal_handler() -> None:
    def look(number: int) -> None:
        caller = sys._getframe(1)
        raise ValueError(number, caller)

    reported: list[str] = []
    with Guard(lambda where, _: reported.append(where))("here"):
        look(1)
    assert reported == ["here"]


def throw_in() -> None:
    """As another thread would, with stopit or RQ's timer."""
    here = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(SoftTimeLimit))


def test_what_another_thread_throws_in_is_never_taken_for_ours() -> None:
    reported: list[str] = []
    guard = Guard(lambda where, _: reported.append(where))
    with pytest.raises(SoftTimeLimit), guard("here"):
        throw_in()
        len("where it strikes")
    assert reported == []
    with guard("here"):
        raise SoftTimeLimit
    assert reported == ["here"], "what is raised like any other is ours"


STRIKES: dict[str, Callable[[], None]] = {
    "a signal's handler": lambda: signal.raise_signal(signal.SIGUSR1),
    "another thread": throw_in,
}


@pytest.fixture(params=STRIKES)
def breaks_off(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    before = signal.signal(signal.SIGUSR1, strike)
    yield STRIKES[request.param]
    signal.signal(signal.SIGUSR1, before)


def what_hosts_do(
    provider: SimulatedProvider, recording: Recording
) -> dict[str, Callable[[], Any]]:
    """By what it is."""
    client = instrument(make_client(provider, cache=AutoCache()), **recording.providers)
    request = request_for("from_openai")
    numbers = count()
    return {
        "a miss": lambda: client.create(**request, max_tokens=next(numbers)),
        "a hit": lambda: client.create(**request),
        "flush()": lambda: flush(1),
        "force_flush()": recording.providers["tracer_provider"].force_flush,
        "instrument()": lambda: uninstrument(instrument(client, **recording.providers)),
    }


@pytest.mark.parametrize("what", ["a miss", "a hit", "flush()", "force_flush()", "instrument()"])
def test_what_breaks_off_from_outside_reaches_the_host_wherever_it_strikes(
    what: str,
    breaks_off: Callable[[], None],
    provider: SimulatedProvider,
    recording: Recording,
) -> None:
    do = what_hosts_do(provider, recording)
    do["a hit"]()
    struck, number, lost = True, 0, []
    while struck:
        number += 1
        interrupt = InterruptAt(number, breaks_off)
        sys.setprofile(interrupt)
        reached: BaseException | None = None
        try:
            do[what]()
        except Exception as error:
            reached = error
        finally:
            sys.setprofile(None)
        # Within its retry loop, Instructor makes an error of its own of it.
        if not isinstance(reached, SoftTimeLimit) and not isinstance(
            reached.__cause__ if reached else None, SoftTimeLimit
        ):
            lost.append(interrupt.where)
        struck = interrupt.struck
    assert number > 5
    assert lost == ["nowhere"], "the last, which has struck nobody"


def test_what_fails_in_finding_that_out_is_swallowed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_cache_otel.guard._code", lambda _: 1 / 0)
    reported: list[str] = []
    with Guard(lambda where, _: reported.append(where))("here"):
        raise ValueError
    assert reported == ["here"]


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

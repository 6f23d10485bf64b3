"""What comes over a call from outside is the host's; what fails in ours is ours, and nobody's business."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from types import FunctionType
from typing import Any

import pytest
from instructor.cache import AutoCache
from support.clients import request_for
from support.interrupts import OURS, InterruptAt
from support.recording import Recording
from support.ways import make_client

from llm_cache_otel import flush, instrument, uninstrument
from llm_cache_otel.cli.simulate import SimulatedProvider
from llm_cache_otel.guard import Guard
from llm_cache_otel.outside import is_the_hosts


class SoftTimeLimit(Exception):
    """As Celery's, which a handler of a signal raises."""


class JobTimeout(Exception):
    """As RQ's, which has a message though only its class can be thrown."""

    def __init__(self) -> None:
        super().__init__("out of time")


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


def strike_late(number: Any, frame: Any) -> None:
    del number, frame
    raise SoftTimeLimit


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a program puts on all kinds of its functions."""

    @functools.wraps(function)
    def logging(*args: Any) -> Any:
        return function(*args)

    return logging


HANDLERS: dict[str, Callable[..., None]] = {
    "a function": strike,
    "a method": Striker().strike,
    "an object": Striker(),
    "a partial": functools.partial(strike, 1),
    "one that is wrapped": logged(strike),
    "one that has let go of what it was given": strike_late,
    "one that is none any more": strike_once,
    "one that takes anything, and is none any more": strike_any,
}


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def guard(reported: list[str]) -> Guard:
    return Guard(lambda where, _: reported.append(where))


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_a_signals_handler_raises_is_the_hosts(
    handler: str, guard: Guard, reported: list[str]
) -> None:
    before = signal.signal(signal.SIGUSR1, HANDLERS[handler])
    try:
        with pytest.raises(SoftTimeLimit), guard("here"):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert reported == []


def of_ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as if it was one of our modules."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**function.__globals__, "__name__": f"{OURS}.struck"})


def _throw_in(kind: type[Exception]) -> None:
    here = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(kind))
    len("where it strikes")


throw_in = of_ours(_throw_in)
"""As another thread would, with stopit or RQ's timer."""


@pytest.mark.parametrize("kind", [SoftTimeLimit, JobTimeout])
def test_what_another_thread_throws_in_is_the_hosts(
    kind: type[Exception], guard: Guard, reported: list[str]
) -> None:
    with pytest.raises(kind), guard("here"):
        throw_in(kind)
    assert reported == []


def look_at_caller() -> None:
    def look(number: int) -> None:
        caller = sys._getframe(1)
        raise ValueError(number, caller)

    look(1)


def ask_single_flight() -> None:
    async def ask() -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(SoftTimeLimit())
        await answer

    asyncio.run(ask())


def await_of_ours() -> None:
    async def ask() -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(SoftTimeLimit())
        await of_ours(wait_for)(answer)

    asyncio.run(ask())


async def wait_for(answer: asyncio.Future[None]) -> None:
    await answer


def call_of_pythons(kind: type[Exception]) -> None:
    functools.reduce(lambda _, kind: throw_in_stdlib(kind), [kind], None)


throw_in_stdlib = FunctionType(_throw_in.__code__, {**globals(), "__name__": "contextlib"})


def test_so_it_is_in_what_ours_calls_of_pythons_own(guard: Guard, reported: list[str]) -> None:
    with pytest.raises(SoftTimeLimit), guard("here"):
        of_ours(call_of_pythons)(SoftTimeLimit)
    assert reported == []
    with guard("here"):
        call_of_pythons(SoftTimeLimit)
    assert reported == ["here"], "but not in what the program's own code calls"


OTHERS: dict[str, Callable[..., Any]] = {
    "an error": lambda: int("x"),
    "one of the program's that we raise": of_ours(strike),
    "what a function raises that knows its caller": look_at_caller,
    "what a store in C raises": lambda: queue.SimpleQueue[int]().get_nowait(),
    "what a future has been given": ask_single_flight,
    "what one has been given that we wait for": await_of_ours,
    "what a cache raises with the decorator that a handler has": logged(lambda: int("x")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_everything_else_is_not(what: str, guard: Guard, reported: list[str]) -> None:
    before = signal.signal(signal.SIGUSR1, logged(strike))
    with guard("here"):
        OTHERS[what]()
    signal.signal(signal.SIGUSR1, before)
    assert reported == ["here"]


class Lazy:
    """As Django's `SimpleLazyObject` or werkzeug's `LocalProxy`: to look at it may connect somewhere."""

    looked_at = 0

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        Lazy.looked_at += 1
        raise ConnectionError


def test_what_the_program_holds_is_not_looked_at() -> None:
    def fail(first: object, second: object) -> None:
        raise ValueError

    lazy = Lazy()
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        fail(lazy, lazy)
    assert not is_the_hosts(raised.value)
    assert Lazy.looked_at == 0


STRIKES: dict[str, Callable[[], None]] = {
    "a signal's handler": lambda: signal.raise_signal(signal.SIGUSR1),
    "another thread": lambda: throw_in(SoftTimeLimit),
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
    monkeypatch.setattr("llm_cache_otel.outside._code", lambda _: 1 / 0)
    reported: list[str] = []
    with Guard(lambda where, _: reported.append(where))("here"):
        raise ValueError
    assert reported == ["here"]

"""`llm-cache-otel watch`: what running programs send, live in a terminal."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console, RenderableType
from rich.live import Live

from llm_cache_otel.cli.arrivals import Arrivals
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.watch_guide import nothing_arrived, waiting
from llm_cache_otel.cli.watch_view import Display

_TICK = 0.25
_REDRAWN = 5.0
"""Seconds after which it is drawn anew in any case, over what somebody may have typed."""


def run_watch(*, grpc_port: int, http_port: int, once: bool, timeout: int) -> int:
    """Show what arrives until a signal ends it, or else once. Returns the exit code."""
    console, errors = Console(highlight=False), Console(highlight=False, stderr=True)
    refused = _refused(grpc_port, http_port)
    if refused is not None:
        errors.print(refused, markup=False, soft_wrap=True)
        return 1
    # What a sender gets wrong it is told itself; here it would only tear the display.
    logging.disable()
    with (
        _ended_by_signals() as is_ended,
        OtlpReceiver(grpc_port=grpc_port, http_port=http_port) as receiver,
    ):
        arrivals = Arrivals(receiver)
        if not once and sys.stdout.isatty() and console.is_interactive:
            _show_live(arrivals, console, is_ended)
        else:
            errors.print(waiting(arrivals, timeout))
            _wait(arrivals, timeout, is_ended)
            if not arrivals.any():
                errors.print(nothing_arrived(arrivals))
                return 1
        if arrivals.any():
            console.print(_view(arrivals))
    return 0


def _refused(grpc_port: int, http_port: int) -> str | None:
    """Why a port can't be used, found out beforehand: gRPC's own words on it are not for users."""
    with ExitStack() as probes:
        for option, port in (("--grpc-port", grpc_port), ("--http-port", http_port)):
            try:
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return (
                        f"Port {port} is taken, perhaps by a Collector that is running already: "
                        f"stop it, or choose another port with {option}."
                    )
                why = os.strerror(error.errno or 0)
                return f"Port {port} can't be used ({why}): choose another with {option}."
    return None


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has come: asked for, so that neither strikes while drawing."""
    received: list[int] = []
    ends = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(end, lambda number, _: received.append(number)) for end in ends]
    try:
        yield lambda: bool(received)
    finally:
        for end, handler in zip(ends, before, strict=True):
            signal.signal(end, handler)


def _show_live(arrivals: Arrivals, console: Console, is_ended: Callable[[], bool]) -> None:
    shown = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not is_ended():
            arrivals.look()
            size, ages = console.size, arrivals.ages()
            current = arrivals.watched, ages, size, time.monotonic() // _REDRAWN
            if current != shown:
                live.update(_view(arrivals, size.height), refresh=True)
                shown = current
            time.sleep(_TICK)


def _view(arrivals: Arrivals, height: int | None = None) -> RenderableType:
    if arrivals.any():
        return Display(arrivals.watched, arrivals.ages(), height=height)
    return waiting(arrivals)


def _wait(arrivals: Arrivals, timeout: float, is_ended: Callable[[], bool]) -> None:
    """For anything, and if it comes for all of it; each no longer than `timeout` seconds."""
    for is_there in (arrivals.any, arrivals.settled):
        end = time.monotonic() + timeout
        while not (is_there() or is_ended()) and time.monotonic() < end:
            time.sleep(_TICK)
            arrivals.look()
        if not arrivals.any():
            return

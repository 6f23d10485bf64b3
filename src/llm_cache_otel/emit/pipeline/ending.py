"""How a private pipeline ends: shut down when nothing speaks through it, or at exit, within bounds."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from llm_cache_otel import forks
from llm_cache_otel.later import later


class Ending:
    """Will shut one provider down, in a thread of its own: an exporter may take many seconds.

    The thread exists from the start, because Python starts none while it exits.
    """

    def __init__(self, provider: Any, timeout: float, out_of_time: Callable[[], None]) -> None:
        self._provider = provider
        self.out_of_time = out_of_time
        self.timeout = timeout
        self._generation = forks.generation
        self._due = threading.Event()
        self._thread = self._start(self._wait_and_shut_down)
        _at_exit(self)

    @staticmethod
    def _start(target: Any) -> threading.Thread:
        thread = threading.Thread(target=target, name="llm_cache_otel-ending", daemon=True)
        thread.start()
        return thread

    def _wait_and_shut_down(self) -> None:
        self._due.wait()
        self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(Exception):
            self._provider.shutdown()

    def begin(self) -> None:
        """Flush and shut down, without waiting for it."""
        if self._generation == forks.generation:
            self._due.set()
        else:  # the thread was the parent's; what is left here of its pipeline sends nothing
            self._start(self._shut_down)

    @property
    def has_begun(self) -> bool:
        return self._due.is_set()

    def is_over_by(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


_endings: list[Ending] = []
_generation = forks.generation


def _at_exit(ending: Ending) -> None:
    global _generation  # noqa: PLW0603
    if _generation != forks.generation:
        _generation = forks.generation
        _endings.clear()
    _endings[:] = [*(other for other in _endings if not other.is_over_by(0.0)), ending]


def wait_for_endings(deadline: float) -> bool:
    """Whether every ending that has begun is over by `deadline`, a time of `time.monotonic`."""
    return all(ending.is_over_by(deadline) for ending in _endings.copy() if ending.has_begun)


def _exit() -> None:
    if _generation != forks.generation:
        return
    since = time.monotonic()
    later.wait(max((ending.timeout for ending in _endings), default=0.0))
    for ending in _endings:
        ending.begin()
    for ending in _endings:
        if not ending.is_over_by(since + ending.timeout):
            ending.out_of_time()


later.at_exit(_exit)
# Python's finalizers come after it: were one made while Python chooses which to call, none would be called
# (`weakref.finalize`), and with each of its pools of connections an exporter's thread makes one.
weakref.finalize(_exit, _exit).detach()
atexit.register(_exit)  # now, so that it comes after what the program registers

"""What forking needs: a moment's quiet, a child that knows it is one, and locks that are free in it."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from llm_cache_otel.outside import comes_from_outside, signal_of

generation = 0
"""How many forks lie between this process and the one that imported this package. What was made in
another generation belongs to a parent."""

was_disturbed = False
"""Whether this process was forked while something could not be paused."""

_PATIENCE = 1.0
"""Seconds that a fork may wait until all is quiet."""


class Pausing(Protocol):
    """What must not be at work in another thread while this process forks."""

    def pause(self, deadline: float) -> bool:
        """Whether it rests by `deadline`, a time of `time.monotonic`. A signal's handler may break it off."""
        ...

    def resume(self) -> None:
        """Whatever came of that."""
        ...

    def end(self) -> None:
        """In the child: it is a parent's."""
        ...


_locks: WeakSet[Any] = WeakSet()
_pausing: WeakSet[Pausing] = WeakSet()
_paused: list[Pausing] = []
_disturbed = False
_depth = 0


def lock() -> Any:
    """A lock that is free in every child, whatever another thread held when it was forked.

    A thread may take it again while it holds it: a signal's handler, or a finalizer, may call what it has
    interrupted.
    """
    made = threading.RLock()
    _locks.add(made)
    return made


def within(lock: Any, timeout: float, work: Callable[[], object]) -> bool:
    """Do `work` while one of our locks is held; whether that was to be had in so many seconds.

    What a signal's handler raises, or another thread throws in, may strike as soon as the lock is taken: it
    is let go all the same, which a `with` can't do that waits no longer than so. A thread that has it already
    is the one which such a handler has interrupted: it may hold locks of others that it can't take again.
    """
    if lock._is_owned():
        return False
    try:
        is_taken: bool = lock.acquire(timeout=timeout)
        if is_taken:
            work()
        return is_taken
    finally:
        try:  # noqa: SIM105  to call anything else before gives a signal's handler a chance
            lock.release()
        except RuntimeError:
            pass  # it was not to be had


def let_go(lock: Any) -> None:
    """Of one that was taken, or was not to be had."""
    with contextlib.suppress(RuntimeError):
        lock.release()


def pause_for_forks(pausing: Pausing) -> None:
    """Have it paused around every fork, for as long as it lives."""
    _pausing.add(pausing)


_forking = lock()


_struck: list[int] = []
"""The signal whose handler has raised something while a fork waited, if one has."""


def _pause() -> None:
    global _depth, _disturbed  # noqa: PLW0603
    deadline = time.monotonic() + _PATIENCE
    _forking.acquire()
    _depth += 1
    if _depth > 1:  # a signal's handler forks, in the middle of this
        return
    _disturbed = False
    _struck.clear()
    for pausing in list(_pausing):
        _paused.append(pausing)
        try:
            if pausing.pause(deadline):
                continue
        except BaseException as error:
            _note(error)
        _disturbed = True


def _note(error: BaseException) -> None:
    """What a hook raises Python tells, and drops: the signal is to come again when the fork is over."""
    if comes_from_outside(error):
        number = signal_of(error)
        if number is not None:
            _struck[:] = [number]


def _resume() -> None:
    global _depth  # noqa: PLW0603
    _depth = max(0, _depth - 1)
    if _depth == 0:
        while _paused:
            with contextlib.suppress(Exception):
                _paused.pop().resume()
    _forking.release()


_again = functools.partial(max, _struck, key=_thread.interrupt_main, default=None)
"""Has `_struck` come again. No code of Python's: the handler would run in that, and not in the program's."""


def _begin_anew() -> None:
    global generation, was_disturbed, _depth  # noqa: PLW0603
    generation += 1
    was_disturbed, _depth = _disturbed, 0
    for held in list(_locks):
        held._at_fork_reinit()  # as the standard library does with its own
    _paused.clear()
    inherited = list(_pausing)
    _pausing.clear()
    for pausing in inherited:
        with contextlib.suppress(Exception):
            pausing.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_begin_anew)
    os.register_at_fork(after_in_parent=_again)

"""What forking needs: a moment's quiet, a child that knows it is one, and locks that are free in it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any, Protocol
from weakref import WeakSet

generation = 0
"""How many forks lie between this process and the one that imported this package. What was made in
another generation belongs to a parent."""


class Pausing(Protocol):
    """What must not be at work in another thread while this process forks."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


_locks: WeakSet[Any] = WeakSet()
_pausing: WeakSet[Pausing] = WeakSet()
_paused: list[Pausing] = []


def lock() -> threading.Lock:
    """A lock that is free in every child, whatever another thread held when it was forked."""
    made = threading.Lock()
    _locks.add(made)
    return made


def rlock() -> Any:
    """`lock`, for a thread to take again while it holds it."""
    made = threading.RLock()
    _locks.add(made)
    return made


def pause_for_forks(pausing: Pausing) -> None:
    """Have it paused around every fork, for as long as it lives."""
    _pausing.add(pausing)


_forking = lock()


def _pause() -> None:
    _forking.acquire()
    _paused[:] = _pausing
    for pausing in _paused:
        with contextlib.suppress(Exception):
            pausing.pause()


def _resume() -> None:
    for pausing in _paused:
        with contextlib.suppress(Exception):
            pausing.resume()
    _paused.clear()
    _forking.release()


def _begin_anew() -> None:
    global generation  # noqa: PLW0603
    generation += 1
    _paused.clear()
    _pausing.clear()  # a parent's
    for held in list(_locks):
        held._at_fork_reinit()  # as the standard library does with its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_begin_anew)

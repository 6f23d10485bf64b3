"""What a forked child needs: to know that it is one, and locks that no thread of its parent holds."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

generation = 0
"""How many forks lie between this process and the one that imported this package. What was made in
another generation belongs to a parent."""

_locks: WeakSet[Any] = WeakSet()


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


def _begin_anew() -> None:
    global generation  # noqa: PLW0603
    generation += 1
    for held in list(_locks):
        held._at_fork_reinit()  # as the standard library does with its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)

"""Waiting for what arrives in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 30.0) -> T:
    """What `check` gives as soon as none of its assertions fails; the last failure, if none ever passes."""
    ends = time.monotonic() + timeout
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.2)

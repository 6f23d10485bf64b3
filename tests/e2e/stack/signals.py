"""Being asked to end, as an exception, and when it suits."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # as a shell would say it


@contextlib.contextmanager
def _handled(by: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # What is ignored stays so: `nohup` and `&` mean it.
    heard = [one for one in _ASKED if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, by) for one in heard}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def leaving() -> contextlib.AbstractContextManager[None]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP all raise SystemExit, so that what was begun can be undone."""
    return _handled(_leave)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What comes inside counts afterwards: for what must not be left half done."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    for number in came:
        signal.raise_signal(number)

"""Swallows and counts our own errors, so that the host never sees one.

Nothing of the host's may run inside a guard: its exceptions would vanish. `Exception` only:
`KeyboardInterrupt` and `SystemExit` belong to the host wherever they strike, and so does what its signal
handlers raise, Celery's `SoftTimeLimitExceeded` for one, and what another thread throws into this one, as
stopit's and RQ's timeouts do.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import signal
import traceback as tracebacks
from collections.abc import Callable
from itertools import pairwise
from opcode import opmap
from types import CodeType, FrameType, NoneType, TracebackType
from typing import ClassVar

Report = Callable[[str, Exception], None]
Passes = Callable[[Exception], bool]


class Guard:
    """Makes guarded blocks: `with guard("cache lookup"): ...`.

    Where every microsecond counts, the same without a block of its own:
    `except Exception as error: if not guard.swallows("cache lookup", error): raise`.

    `report(where, error)` is told of every error swallowed; its own errors are swallowed in silence.
    What `passes` holds of goes on.
    """

    __slots__ = ("_blocks", "_passes", "_report")

    def __init__(self, report: Report, passes: Passes | None = None) -> None:
        self._report = report
        self._passes = passes
        self._blocks: dict[str, Guarded] = {}

    def __call__(self, where: str) -> Guarded:
        block = self._blocks.get(where)
        if block is None:
            block = self._blocks[where] = Guarded(self, where)
        return block

    def swallows(self, where: str, error: Exception) -> bool:
        """Whether an error is ours, and not to go on; it is reported by then."""
        is_theirs = False
        with contextlib.suppress(Exception):
            is_theirs = is_the_hosts(error) or (self._passes is not None and self._passes(error))
        if is_theirs:
            return False
        with contextlib.suppress(Exception):
            self._report(where, error)
        return True


class Guarded:
    """A guarded block: there may be many of it at a time, for it keeps nothing of them."""

    __slots__ = ("_guard", "_where")

    def __init__(self, guard: Guard, where: str) -> None:
        self._guard = guard
        self._where = where

    __enter__: ClassVar[Callable[..., None]] = staticmethod(NoneType)
    """Which does nothing, and runs no code of Python's for that."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, Exception) and self._guard.swallows(self._where, error)


def is_the_hosts(error: BaseException) -> bool:
    """Whether it came over what it struck from outside, and can strike anywhere."""
    if not isinstance(error, Exception):
        return True
    struck = list(tracebacks.walk_tb(error.__traceback__))
    return _is_a_signal_handlers([frame for frame, _ in struck]) or _is_thrown_in(error)


def _is_a_signal_handlers(frames: list[FrameType]) -> bool:
    """Whether one of these is a handler's for a signal: one that is installed, or is given what it struck."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame in frames) or any(
        _is_given(frame, struck) for struck, frame in pairwise(frames)
    )


def _is_given(frame: FrameType, struck: FrameType) -> bool:
    """Whether it was called with a number and that frame, one after the other."""
    code, given = frame.f_code, frame.f_locals
    values = [given.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & inspect.CO_VARARGS:
        values += given.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return any(isinstance(number, int) and one is struck for number, one in pairwise(values))


def _is_thrown_in(error: Exception) -> bool:
    """Whether another thread did, with `PyThreadState_SetAsyncExc`.

    That is given a class, and makes an error of it without arguments, at an instruction which raises nothing
    itself. Errors made in C have arguments, or classes that nothing refers to weakly.
    """
    innermost = error.__traceback__
    if error.args or not hasattr(type(error), "__weakref__") or innermost is None:
        return False
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost.tb_frame.f_code.co_code[innermost.tb_lasti] != opmap["RAISE_VARARGS"]


def _code(handler: object) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not inspect.isroutine(handler):
        handler = getattr(type(handler), "__call__", None)  # noqa: B004  of an object that can be called
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code if isinstance(code, CodeType) else None

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
import sys
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
        if is_the_hosts(error):
            return False
        with contextlib.suppress(Exception):
            if self._passes is not None and self._passes(error):
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
    """Whether it came over what it struck from outside, and can strike anywhere. Never raises."""
    return not isinstance(error, Exception) or comes_from_outside(error)


def comes_from_outside(error: BaseException) -> bool:
    """The same, of whatever could be raised where it struck as well, such as `SystemExit`. Never raises."""
    with contextlib.suppress(Exception):
        return signal_of(error) is not None or _is_thrown_in(error)
    return False


def signal_of(error: BaseException) -> int | None:
    """The signal whose handler has raised it: it is installed, or was given the frame that it struck."""
    handlers = {_code(signal.getsignal(number)): int(number) for number in signal.valid_signals()}
    frames = [frame for frame, _ in tracebacks.walk_tb(error.__traceback__)]
    for struck, frame in pairwise(frames):
        number = _given(frame, struck)
        if number is not None:
            return number
    # Of a closure's others have the code as well, such as whatever one decorator was put on.
    known = (handlers.get(frame.f_code) for frame in frames if not frame.f_code.co_freevars)
    return next((number for number in known if number is not None), None)


def _given(frame: FrameType, struck: FrameType) -> int | None:
    """The number before it, if the frame that was struck is given to this one's function."""
    code, given = frame.f_code, frame.f_locals
    values = [given.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & inspect.CO_VARARGS:
        values += given.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    for number, one in pairwise(values):
        if one is struck and issubclass(
            type(number), int
        ):  # what the program holds is not to be asked
            return int(number)
    return None


def _is_thrown_in(error: BaseException) -> bool:
    """Whether another thread did, with `PyThreadState_SetAsyncExc`.

    That makes an error of a class of the program's, in ours or what that calls of Python's own, at an
    instruction which raises nothing itself.
    """
    kind, innermost = type(error), error.__traceback__
    if innermost is None or not hasattr(kind, "__weakref__"):  # which builtins and Rust's have not
        return False
    where = ""
    while innermost is not None:
        last, innermost = innermost, innermost.tb_next
        library = _library(last.tb_frame.f_globals.get("__name__"))
        where = where if library in sys.stdlib_module_names else library
    return (
        where in _OURS
        and _library(kind.__module__) not in _OURS | sys.stdlib_module_names
        and last.tb_frame.f_code.co_code[last.tb_lasti] not in _RAISING
    )


_OURS = frozenset({"llm_cache_otel", "opentelemetry", "wrapt"})
"""What runs within guards. A cache of the program's may too: what strikes there may be its own error."""

_RAISING = frozenset({opmap["RAISE_VARARGS"], opmap["SEND"]})
"""`raise`, and `await`, of what has failed elsewhere."""


def _library(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _code(handler: object) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not inspect.isroutine(handler):
        handler = getattr(type(handler), "__call__", None)  # noqa: B004  of an object that can be called
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code if isinstance(code, CodeType) else None

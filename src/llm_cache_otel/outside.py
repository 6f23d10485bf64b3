"""Tells what comes over a call from outside, and may strike anywhere, from what fails in it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import signal
import sys
import traceback as tracebacks
from itertools import pairwise
from opcode import opmap
from types import CodeType, FrameType


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
        # Of what else the program holds nothing is asked: it may connect somewhere.
        if one is struck and isinstance(number, int):
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
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    frames = (frame for frame, _ in tracebacks.walk_tb(error.__traceback__))
    libraries = [_library(frame.f_globals.get("__name__")) for frame in frames]
    theirs = [library for library in libraries if library not in sys.stdlib_module_names]
    return (
        not _OURS.isdisjoint(theirs[-1:])
        and _library(kind.__module__) not in _OURS | sys.stdlib_module_names
        and innermost.tb_frame.f_code.co_code[innermost.tb_lasti] not in _RAISING
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

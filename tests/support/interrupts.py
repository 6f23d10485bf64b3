"""Ctrl-C at any place in what is ours."""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

OURS = "llm_cache_otel"

_collection = {"phase": "stop"}
"""Of the garbage collector, which passes on nothing that is raised by what it runs."""
gc.callbacks.append(lambda phase, _: _collection.update(phase=phase))


def interrupt() -> None:
    raise KeyboardInterrupt


class InterruptAt:
    """Raises `KeyboardInterrupt` when the given number of functions of ours has been entered.

    Or does something else.
    """

    def __init__(self, number: int, strike: Callable[[], None] = interrupt) -> None:
        self._left = number
        self._strike = strike
        self.where = "nowhere"

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        is_generator = (
            frame.f_code.co_flags & inspect.CO_GENERATOR
        )  # one that is dropped passes nothing on
        if _collection["phase"] == "start":
            return
        if event == "call" and not is_generator and f"/src/{OURS}/" in frame.f_code.co_filename:
            self._left -= 1
            if self._left == 0:
                sys.setprofile(None)
                self.where = frame.f_code.co_qualname
                self._strike()

    @property
    def struck(self) -> bool:
        return self._left <= 0


class InterruptAfterCall:
    """A trace function that raises where Python itself would let a signal's handler run.

    That is in ours at the entry of a function, and behind each call in it: the given number of them.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self._called: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if f"/src/{OURS}/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call" or frame in self._called:
            self._called.discard(frame)
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        if event == "opcode":
            instruction = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if instruction.startswith("CALL"):
                self._called.add(frame)
        return self

    @property
    def struck(self) -> bool:
        return self._left <= 0

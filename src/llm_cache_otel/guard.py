"""Swallows and counts our own errors, so that the host never sees one.

Nothing of the host's may run inside a guard: its exceptions would vanish. `Exception` only:
`KeyboardInterrupt` and `SystemExit` belong to the host wherever they strike, and so does what its signal
handlers raise, Celery's `SoftTimeLimitExceeded` for one, and what another thread throws into this one, as
stopit's and RQ's timeouts do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import NoneType, TracebackType
from typing import ClassVar

from llm_cache_otel.outside import is_the_hosts

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

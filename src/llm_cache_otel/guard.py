"""Swallows and counts our own errors, so that the host never sees one.

Nothing of the host's may run inside a guard: its exceptions would vanish. `Exception` only:
`KeyboardInterrupt` and `SystemExit` belong to the host wherever they strike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

Report = Callable[[str, Exception], None]


class Guard:
    """Makes guarded blocks: `with guard("cache lookup"): ...`.

    `report(where, error)` is told of every error swallowed; its own errors are swallowed in silence.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Report) -> None:
        self._report = report

    def __call__(self, where: str) -> Guarded:
        return Guarded(where, self._report)


class Guarded:
    """One guarded block."""

    __slots__ = ("_report", "_where")

    def __init__(self, where: str, report: Report) -> None:
        self._where = where
        self._report = report

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        with contextlib.suppress(Exception):
            self._report(self._where, error)
        return True

"""What `up` left running, noted in a file, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from e2e.stack.processes import Unknown, started

ENDS_WITHIN = 15.0


@dataclass(frozen=True)
class Program:
    name: str
    pid: int
    started: str
    """As `processes.started` has it; empty where that can't tell."""

    def runs(self) -> bool:
        """And is the one that was noted; its id may be another's by now.

        Raises:
            Unknown: something runs, and nothing tells whether it is this.
        """
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        if not self.started:
            raise Unknown("when it started could not be told then")
        return started(self.pid) == self.started

    def end(self) -> None:
        """Returns once it has ended.

        Raises:
            Unknown: whether it runs can't be told; nothing was ended.
            TimeoutError: it was told to end, and goes on.
            PermissionError: it is not ours to end.
        """
        with contextlib.suppress(ProcessLookupError):
            if self.runs():
                os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + ENDS_WITHIN
        while self.runs():
            if time.monotonic() > until:
                raise TimeoutError(f"it has not ended within {ENDS_WITHIN:g} s")
            time.sleep(0.05)

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


def program(name: str, pid: int) -> Program | None:
    """As it is now; None if it has ended."""
    try:
        start = started(pid)
    except Unknown:
        start = ""
    return None if start is None else Program(name, pid, start)


def note(file: Path, programs: Iterable[Program]) -> None:
    """Whole or not at all, for who writes may be ended, or the disk be full."""
    beside = file.with_name(f"{file.name}.part")
    beside.write_text(json.dumps([astuple(one) for one in programs]))
    beside.replace(file)


def noted(file: Path) -> list[Program]:
    """Each, whether it runs or not; none of a file that is not as `note` writes it."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return []
    programs = [_read(one) for one in found] if isinstance(found, list) else []
    return [one for one in programs if one is not None]


def _read(one: object) -> Program | None:
    match one:
        # Signals to ids below 2 are to whole groups, or to what runs the machine.
        case [str(name), int(pid), str(start)] if pid > 1:
            return Program(name, pid, start)
    return None


def may_run(one: Program) -> bool:
    """Also where that can't be told."""
    try:
        return one.runs()
    except Unknown:
        return True

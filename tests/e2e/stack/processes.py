"""Whether the program that had an id still has it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

PROC = Path("/proc")


class Unknown(Exception):
    """Nothing on this machine tells. That is not to say that nothing runs."""


def started(pid: int) -> str | None:
    """When the program of this id started, on this machine's own clock; None if none runs.

    Ids are given out again, and a command line may be that of a stranger too. Two programs never have both
    the same id and the same start. Neither changes when a script gives way to the program that it runs.

    Raises:
        Unknown: there is neither `/proc` nor a `ps` that answers.
    """
    try:
        return _by_proc(pid) if (PROC / "self" / "stat").exists() else _by_ps(pid)
    except OSError as error:
        raise Unknown(f"what has the id {pid} can't be told: {error}") from error


def _by_proc(pid: int) -> str | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Its second field is a name in brackets, which may hold anything.
    state, *fields = stat.rpartition(")")[2].split()
    if state in {"Z", "X"}:  # ended, though its parent has not asked yet, and maybe never will
        return None
    return f"{_boot()}{fields[18]}"


def _boot() -> str:
    """Since when the clock counts; not every sandbox says."""
    with contextlib.suppress(OSError):
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip() + " "
    return ""


def _by_ps(pid: int) -> str | None:
    # Wide, or it cuts what it says; and dates are to be the same in everyone's shell.
    command = ["ps", "-ww", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    variables = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    state, _, date = done.stdout.strip().partition(" ")
    if done.stderr or (done.returncode and state):
        raise Unknown(f"what has the id {pid} can't be told: ps says {done.stderr.strip()}")
    return None if not state or state.startswith("Z") else date.strip()

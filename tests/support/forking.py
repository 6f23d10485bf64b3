"""For programs that fork."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def fork(work: Callable[..., object], *arguments: object) -> int:
    """A child that does `work` and ends as programs do, exit handlers and all; gives its id."""
    process = os.fork()
    if process:
        return process
    work(*arguments)
    sys.exit()


def join(*processes: int) -> None:
    """Wait for children to end well."""
    for process in processes:
        _, status = os.waitpid(process, 0)
        assert status == 0, f"{process} ended with {os.waitstatus_to_exitcode(status)}"

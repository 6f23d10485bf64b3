"""Plays programs in processes forked from one that has imported everything, seconds quicker than others.

Nothing is instrumented there and no connection made. A program is told by a line of JSON, and the answer
is the line of its exit code.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Self

from support.programs import start_module

OUT, ERRORS = "out", "errors"


def play(program: str, variables: dict[str, str], directory: str) -> None:
    for name, number in ((OUT, 1), (ERRORS, 2)):
        os.dup2(os.open(Path(directory, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(variables)
    # In the real one, because multiprocessing looks for a program's functions there.
    exec(compile(program, "program", "exec"), vars(sys.modules["__main__"]))


def main() -> None:
    from support.caller import import_all

    import_all()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            play(*json.loads(line))
            sys.exit()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


class Stage:
    """`with Stage(environment(...)) as stage: stage.run(program, environment(...), directory)`."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, program: str, variables: dict[str, str], directory: Path, timeout: float = 300
    ) -> tuple[str, str]:
        """What it wrote to stdout and stderr, which are files in `directory`, once it has ended well."""
        if self._process is None:
            self._process = start_module("support.stage", variables=self._variables)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.dumps([textwrap.dedent(program), variables, str(directory)])
        process.stdin.write(f"{told}\n")
        process.stdin.flush()
        ended, _, _ = select.select([process.stdout], [], [], timeout)
        if not ended:
            self._end(signal.SIGABRT)  # each process writes where its threads are
        errors = (directory / ERRORS).read_text()
        assert ended, f"it hangs\n{errors}"
        code = process.stdout.readline()
        assert code == "0\n", errors
        return (directory / OUT).read_text(), errors

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, by)
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGKILL)


if __name__ == "__main__":
    main()

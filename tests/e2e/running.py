"""Programs that run beside a test, which goes on meanwhile, until it tells them to end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support.caller import read_tally

from e2e.conftest import Programs
from e2e.waiting import eventually


class Running:
    def __init__(self, end: Path, tally: Path, ended: Future[tuple[str, str]]) -> None:
        self._end = end
        self._tally = tally
        self._ended = ended

    def check(self) -> None:
        """
        Raises:
            RuntimeError: it has ended by itself, well or not.
        """
        if self._ended.done():
            raise RuntimeError("it has ended by itself") from self._ended.exception()

    @property
    def calls(self) -> int:
        """How many it has made, if it is a `Caller`."""
        self.check()
        return sum(read_tally(self._tally).values()) if self._tally.exists() else 0

    def goes_on(self, calls: int = 20) -> None:
        """Until it has made some more calls."""
        until = self.calls + calls

        def has_made_them() -> None:
            assert self.calls >= until

        eventually(has_made_them)

    def end(self) -> str:
        """What it wrote to stdout, once it has ended well."""
        self._end.touch()
        return self._ended.result()[0]


@contextmanager
def running(
    programs: Programs, function: str, endpoint: str, service: str, **more: object
) -> Iterator[Running]:
    """`e2e.<function>(file)`, which ends when there is that file."""
    end = programs.tally.with_name(f"{service}.end")
    module, _, name = function.rpartition(".")
    program = f"from e2e.{module} import {name}; {name}({str(end)!r})"
    with ThreadPoolExecutor(1) as beside:
        ended = beside.submit(programs.run, program, endpoint, service, **more)
        try:
            yield Running(end, programs.tally, ended)
        finally:
            end.touch()

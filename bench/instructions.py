"""Instructions of a call, counted by valgrind: the same within half a percent, however busy a machine is.

Times of a call differ by several percent from one minute to the next where a machine is shared, which is as
much as watching adds. What is counted here is all that the process does for a call, on whichever thread,
until it is encoded; a cold cache, which makes an instruction take longer, does not show.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.names import BARE, OURS, WRAPPED
from bench.process import BenchError, Worker

CONTENDERS = (BARE, OURS, WRAPPED)

_CASES = ("hit", "miss")
_FEW = 10
_MANY, _QUICK_MANY = 110, 40
_TOTAL = re.compile(r"I +refs: +([\d,]+)")


def measure(step: Callable[[], object], *, quick: bool) -> dict[str, dict[str, int]]:
    """By case and contender, per call: what a process with many calls takes more than one with few."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise BenchError("valgrind is not on the PATH: apt-get install valgrind")
    many = _QUICK_MANY if quick else _MANY
    wanted = [
        (name, case, calls) for name in CONTENDERS for case in _CASES for calls in (_FEW, many)
    ]

    def count(one: tuple[str, str, int]) -> int:
        counted = _counted(valgrind, *one)
        step()
        return counted

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(wanted, pool.map(count, wanted), strict=True))
    return {
        case: {
            name: round((found[name, case, many] - found[name, case, _FEW]) / (many - _FEW))
            for name in CONTENDERS
        }
        for case in _CASES
    }


def steps() -> int:
    return len(CONTENDERS) * len(_CASES) * 2


def _counted(valgrind: str, name: str, case: str, calls: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        tool = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
        under = (valgrind, *tool, f"--log-file={log}")
        # With a load, a few calls are warm enough.
        arguments = json.dumps([name]), json.dumps({})
        with Worker(name, "bench.worker", *arguments, under=under, PYTHONHASHSEED="0") as worker:
            worker.answer()
            worker.ask(contender=name, case=case, calls=calls)
            worker.end()
        total = _TOTAL.search(log.read_text())
    if total is None:
        raise BenchError(f"valgrind did not count what '{name}' takes")
    return int(total[1].replace(",", ""))

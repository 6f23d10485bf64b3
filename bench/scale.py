"""How what watching adds to a call changes with what a program does much of.

One dimension varies at a time, from a base of forty keys, a prompt of about a KB, one thread and one
client, with the entries in memory. The entries are there from the start, as if another process had stored
them (`bench.load.fill`). Calls of threads and tasks can't take turns with bare Instructor's one by one: four
of each thread do, and one of each task. They may last so long that what is done in batches falls into their
wall time, which otherwise it does not.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.load import Load
from bench.names import OURS
from bench.race import Size, race

HEATS, ROUNDS = 3, 2
QUICK_HEATS, QUICK_ROUNDS = 1, 2
_SECONDS, _QUICK_SECONDS = 2.5, 1.0
"""That a round may take, of each case."""

_MOST_PAIRS, _FEWEST_PAIRS = 250, 3
_CALLS_OF_A_THREAD = 4


@dataclass(frozen=True)
class Point:
    dimension: str
    at: int | str
    load: Load
    cases: tuple[str, ...] = ("hit",)


def points(stores: Mapping[str, str], *, quick: bool) -> list[Point]:
    """All there is to measure; a quick run leaves out every other."""
    dimensions = [
        [Point("keys", n, Load(keys=n)) for n in (10, 100, 1_000, 10_000, 100_000)],
        [Point("misses before", n, Load(missed=n), ("miss",)) for n in (10, 100, 1_000)],
        [
            Point("prompt bytes", n, Load(prompt=n), ("hit", "miss"))
            for n in (1_000, 10_000, 100_000, 1_000_000)
        ],
        [Point("threads", n, Load(threads=n)) for n in (1, 2, 4, 8, 16, 32)],
        [Point("async tasks", n, Load(tasks=n)) for n in (1, 10, 100, 1_000)],
        [Point("clients of a cache", n, Load(clients=n)) for n in (1, 10, 100)],
    ]
    if quick:
        dimensions = [[*dimension[:-1:2], dimension[-1]] for dimension in dimensions]
    dimensions.append([Point("store", name, Load(store=where)) for name, where in stores.items()])
    return [point for dimension in dimensions for point in dimension]


def measure(
    chosen: list[Point],
    heats: int,
    rounds: int,
    point_is_over: Callable[[], object],
    *,
    quick: bool,
) -> list[dict[str, Any]]:
    """Of each point and case the rounds of both."""
    measured = []
    for point in chosen:

        def sizes(warm: Mapping[str, float], point: Point = point) -> dict[str, Size]:
            return {case: _size(warm[case], point.load, quick=quick) for case in point.cases}

        raced = race({OURS: None}, heats, rounds, sizes, lambda: None, point.load)
        measured += [
            {"dimension": point.dimension, "at": point.at, "case": case, **raced[case][OURS]}
            for case in point.cases
        ]
        point_is_over()
    return measured


def _size(seconds: float, load: Load, *, quick: bool) -> Size:
    """Of a round, where a call takes so many seconds."""
    calls = load.tasks or (1 if load.threads == 1 else _CALLS_OF_A_THREAD * load.threads)
    budget = _QUICK_SECONDS if quick else _SECONDS
    pairs = int(budget / (2 * calls * seconds))
    return Size(max(_FEWEST_PAIRS, min(_MOST_PAIRS, pairs)), calls)


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """Where entries can be, by name; without Redis where it is not installed."""
    with TemporaryDirectory() as directory:
        program = shutil.which("redis-server")
        if program is None:
            yield {"memory": "memory", "disk": str(Path(directory, "disk"))}
            return
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        server = subprocess.Popen(
            [program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", directory],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert server.stdout is not None
            any("Ready to accept connections" in line for line in server.stdout)
            yield {
                "memory": "memory",
                "disk": str(Path(directory, "disk")),
                "Redis": f"redis://127.0.0.1:{port}/0",
            }
        finally:
            server.terminate()
            server.communicate()

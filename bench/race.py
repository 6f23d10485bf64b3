"""Runs one process per contender and lets them take turns, so that a slow minute hits them all."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CASES = ("hit", "miss")
COST = (
    *("bare", "bare again", "llm-cache-otel"),
    *("openinference", "openllmetry (openai)", "genai-openai"),
)
OUTAGES = ("answers", "answers, again", "is absent", "hangs", "refuses", "throttles")
"""A Collector that each sends to. Of either race the first is what the others are compared with."""

_OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
_ROOT = Path(__file__).resolve().parent.parent

# Each of these would change what is measured, for one contender or for all.
_FOREIGN_SETTINGS = ("OTEL_", "LLM_CACHE_OTEL_", "OPENINFERENCE_", "OPENAI_")


class BenchError(Exception):
    """The run is void; the message says why."""


@dataclass(frozen=True)
class Round:
    """One contender's round of a turn; times are in seconds per call."""

    heat: int
    turn: int
    case: str
    contender: str
    wall: float
    cpu: float


class Worker:
    """A contender's process. It is idle unless a round is being measured."""

    def __init__(self, contender: str, endpoint: str | None) -> None:
        self._contender = contender
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN_SETTINGS)}
        if endpoint is not None:
            environment |= _OFTEN | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "NO_PROXY": "*"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", contender],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self) -> None:
        self._answer()

    def measure(self, case: str, calls: int) -> dict[str, float]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the lack of an answer tells
            self._process.stdin.write(json.dumps({"case": case, "calls": calls}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the process of '{self._contender}' failed; it said why above")
        answer: dict[str, float] = json.loads(line)
        return answer


def race(
    contenders: Mapping[str, str | None],
    heats: int,
    turns: int,
    calls: dict[str, int],
    turn_is_over: Callable[[], object],
) -> list[Round]:
    """Every contender's rounds: in each heat new processes, which take `turns` turns of each case.

    A contender may have an endpoint to send to. `calls` says how many calls make a round. Raises
    `BenchError` if a contender did not do what it is measured for.
    """
    rounds: list[Round] = []
    for heat in range(heats):
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker(name, endpoint))
                for name, endpoint in contenders.items()
            }
            for worker in workers.values():
                worker.wait_until_ready()
            for turn in range(turns):
                for case in CASES:
                    for name in random.sample(list(contenders), len(contenders)):
                        measured = workers[name].measure(case, calls[case])
                        rounds.append(Round(heat, turn, case, name, **measured))
                turn_is_over()
    return rounds

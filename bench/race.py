"""Lets contenders take turns, so that a slow minute hits them all: each in a process of its own, or in one.

Processes differ by some percent, for as long as they live, for where their memory happens to lie; of large
prompts by a third, for what the allocator has given back to the system. What is small beside that is measured
in one process. There bare Instructor's functions have our seams in them, which pass its calls on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict

from bench.load import Load
from bench.process import Worker

_OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}

Times = list[tuple[float, float]]
"""Wall and CPU of each turn, in microseconds per call; in all lists the same place is the same turn."""

Race = dict[str, dict[str, Times]]
"""By case and contender."""


def race(
    contenders: Mapping[str, str | None],
    heats: int,
    turns: int,
    calls: Mapping[str, int] | Callable[[Mapping[str, float]], Mapping[str, int]],
    turn_is_over: Callable[[], object],
    load: Load | None = None,
) -> Race:
    """Every contender's rounds: in each heat new processes, which take `turns` turns of each case.

    All are in one process if there is a `load`. A contender may have an endpoint to send to. `calls` says of
    each case how many calls make a round; it may depend on the seconds that one took the first contender
    when it warmed up. Raises `BenchError` if a contender did not do what it is measured for.
    """
    rounds: Race = {}
    for _ in range(heats):
        with ExitStack() as stack:
            if load is None:
                workers = {
                    name: stack.enter_context(_worker([name], endpoint))
                    for name, endpoint in contenders.items()
                }
            else:
                together = _worker([*contenders], None, json.dumps(asdict(load)))
                workers = dict.fromkeys(contenders, stack.enter_context(together))
            warm = [worker.answer() for worker in dict.fromkeys(workers.values())]
            sizes = calls(warm[0]) if callable(calls) else calls
            for _ in range(turns):
                for case, size in sizes.items():
                    for name in random.sample(list(contenders), len(contenders)):
                        took = workers[name].ask(contender=name, case=case, calls=size)
                        times = rounds.setdefault(case, {}).setdefault(name, [])
                        times.append((round(took["wall"] * 1e6, 1), round(took["cpu"] * 1e6, 1)))
                turn_is_over()
    return rounds


def _worker(names: list[str], endpoint: str | None, *load: str) -> Worker:
    more = {}
    if endpoint is not None:
        more = {**_OFTEN, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "NO_PROXY": "*"}
    return Worker(" and ".join(names), "bench.worker", json.dumps(names), *load, **more)

"""Lets contenders race bare Instructor, each in a process that does both by turns.

A slow minute of the machine, and where a process's memory happens to lie, then hit both: processes that do
the same differ by up to a tenth here, for as long as they live. So there are several, one after the other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from bench.load import Load
from bench.process import Worker

_OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}


@dataclass(frozen=True)
class Size:
    """Of a round: so many pairs, each of `calls` calls of bare Instructor and as many of the contender.

    Each block of them is measured by the calls alone, or `whole`: until all that it noted has been encoded.
    """

    pairs: int
    calls: int = 1
    whole: bool = False


Times = list[tuple[float, float]]
"""Wall and CPU of each round, in microseconds per call."""

Race = dict[str, dict[str, dict[str, Times]]]
"""By case and contender, what is its own and what is bare Instructor's: the same place is the same round."""


def race(
    contenders: Mapping[str, str | None],
    heats: int,
    rounds: int,
    sizes: Mapping[str, Size] | Callable[[Mapping[str, float]], Mapping[str, Size]],
    round_is_over: Callable[[], object],
    load: Load | None = None,
) -> Race:
    """Every contender's rounds: in each heat a new process of each, for `rounds` rounds of each case.

    A contender may have an endpoint to send to. `sizes` says of each case how much makes a round; it may
    depend on the seconds that a call took bare Instructor when it warmed up. Raises `BenchError` if a
    contender did not do what it is measured for.
    """
    raced: Race = {}
    for _ in range(heats):
        for name in random.sample(list(contenders), len(contenders)):
            with _worker(name, contenders[name], load) as worker:
                warm = worker.answer()
                chosen = sizes(warm) if callable(sizes) else sizes
                for case in [*chosen] * rounds:
                    size = chosen[case]
                    took = worker.ask(case=case, **asdict(size))
                    pair = raced.setdefault(case, {}).setdefault(name, {})
                    for whose, seconds in took.items():
                        times = (round(seconds[of] * 1e6, 1) for of in ("wall", "cpu"))
                        pair.setdefault(whose, []).append((*times,))
                round_is_over()
    return raced


def _worker(name: str, endpoint: str | None, load: Load | None) -> Worker:
    more = {}
    if endpoint is not None:
        more = {**_OFTEN, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "NO_PROXY": "*"}
    loads = () if load is None else (json.dumps(asdict(load)),)
    return Worker(name, "bench.worker", name, *loads, **more)

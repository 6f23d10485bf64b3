"""Measures one part, and gives it as it is saved."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from bench import imports, memory, scale
from bench.names import COST, LOOP
from bench.race import Size, race
from bench.result import conditions

_SIZES = {"hit": Size(500), "miss": Size(250)}
_QUICK_SIZES = {"hit": Size(200), "miss": Size(100)}
# A block lasts longer than calls wait to be told.
_LOOP_SIZES = {"hit": Size(4, 300, whole=True), "miss": Size(4, 150, whole=True)}
_LOOP_HEATS = 2
_HEATS, _QUICK_HEATS = 5, 1
_ROUNDS = 2


def measure(part: str, command: str, options: argparse.Namespace) -> dict[str, Any]:
    """By the name of what was measured."""
    measurers = {
        "cost": _cost,
        "loop": _loop,
        "scale": _scale,
        "imports": _imports,
        "memory": _memory,
    }
    return measurers[part](command, options)


def _cost(command: str, options: argparse.Namespace) -> dict[str, Any]:
    heats = _QUICK_HEATS if options.quick else options.heats or _HEATS
    sizes = _QUICK_SIZES if options.quick else _SIZES
    pairs = {case: size.pairs for case, size in sizes.items()}
    under = conditions(command, heats=heats, rounds=_ROUNDS, pairs_per_round=pairs)
    contenders: Mapping[str, str | None] = dict.fromkeys(COST)
    with ExitStack() as stack:
        if options.outages:
            from bench.collectors import collectors

            contenders = stack.enter_context(collectors())
        step = stack.enter_context(_progress("a call", heats * len(contenders)))
        rounds = race(contenders, heats, _ROUNDS, sizes, step)
    return {"outages" if options.outages else "cost": {"conditions": under, "rounds": rounds}}


def _loop(command: str, options: argparse.Namespace) -> dict[str, Any]:
    heats = _QUICK_HEATS if options.quick else options.heats or _LOOP_HEATS
    calls = {case: size.calls for case, size in _LOOP_SIZES.items()}
    under = conditions(command, heats=heats, rounds=_ROUNDS, calls_in_a_row=calls)
    with _progress("without a pause", heats * len(LOOP)) as step:
        rounds = race(dict.fromkeys(LOOP), heats, _ROUNDS, _LOOP_SIZES, step)
    return {"loop": {"conditions": under, "rounds": rounds}}


def _scale(command: str, options: argparse.Namespace) -> dict[str, Any]:
    quick = options.quick
    heats = scale.QUICK_HEATS if quick else options.heats or scale.HEATS
    rounds = scale.QUICK_ROUNDS if quick else scale.ROUNDS
    under = conditions(command, heats=heats, rounds=rounds)
    with scale.stores() as stores:
        chosen = scale.points(stores, quick=quick)
        with _progress("scale", len(chosen)) as step:
            points = scale.measure(chosen, heats, rounds, step, quick=quick)
    skipped = {} if "Redis" in stores else {"Redis": "redis-server is not on the PATH"}
    return {"scale": {"conditions": under, "skipped": skipped, "points": points}}


def _imports(command: str, options: argparse.Namespace) -> dict[str, Any]:
    times = imports.QUICK_TIMES if options.quick else imports.TIMES
    under = conditions(command, interpreters=times)
    with _progress("importing", times + 1) as step:
        return {"imports": {"conditions": under, "taken": imports.measure(times, step)}}


def _memory(command: str, options: argparse.Namespace) -> dict[str, Any]:
    calls = options.calls or (memory.QUICK_CALLS if options.quick else memory.CALLS)
    under = conditions(command, calls=calls)
    with _progress("memory", memory.samples(calls)) as step:
        return {"memory": {"conditions": under, "taken": memory.measure(calls, step)}}


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], object]]:
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)

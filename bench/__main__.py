"""The command `python -m bench`; what is measured stands in the package's docstring."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack

_CALLS = {"hit": 240, "miss": 40}
_QUICK_CALLS = {"hit": 60, "miss": 10}
"""Calls of a round. Of none does any contender record 512 spans, a batch: see the package."""

_TURNS = 4
_HEATS, _QUICK_HEATS, _MOST_HEATS = 6, 1, 1_000


def main() -> int:
    options = _parser().parse_args()
    heats = _QUICK_HEATS if options.quick else options.heats
    calls = _QUICK_CALLS if options.quick else _CALLS
    try:
        from rich.console import Console
        from rich.progress import Progress

        from bench.collectors import collectors
        from bench.race import COST, BenchError, race
        from bench.report import conditions, save, show
        from bench.summary import summarize

        under = conditions(
            shlex.join(["python", "-m", "bench", *sys.argv[1:]]), heats, _TURNS, calls
        )
    except ModuleNotFoundError as error:  # a module or, from the versions, a distribution
        print(f"bench: {error.name} is not installed", file=sys.stderr)
        return 1
    try:
        with (
            Progress(console=Console(stderr=True), transient=True) as progress,
            ExitStack() as open_,
        ):
            task = progress.add_task("measuring", total=heats * _TURNS)
            contenders: Mapping[str, str | None] = dict.fromkeys(COST)
            if options.outages:
                contenders = open_.enter_context(collectors())
            rounds = race(contenders, heats, _TURNS, calls, lambda: progress.advance(task))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted, nothing was measured", file=sys.stderr)
        return 130
    lines = summarize(rounds)
    show(lines, under, Console())
    if options.save:
        print(f"saved as bench/results/{save(lines, rounds, under).name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What instrumenting a cached Instructor client costs, on a hit and on a miss, "
        "as ratios to the bare client.",
        allow_abbrev=False,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a few seconds, and rough")
    length.add_argument(
        "--heats",
        type=_heats,
        default=_HEATS,
        metavar="N",
        help="how often to begin again with new processes (default: %(default)s)",
    )
    parser.add_argument(
        "--outages",
        action="store_true",
        help="what a call costs while the Collector is in trouble, as ratios to one that answers",
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the result as a JSON file in bench/results"
    )
    return parser


def _heats(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_HEATS:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"must be a whole number from 1 to {_MOST_HEATS}, not {text!r}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""The command `python -m bench`; what is measured stands in the package's docstring."""

from __future__ import annotations

import argparse
import shlex
import sys

_CALLS = {"hit": 240, "miss": 40}
_QUICK_CALLS = {"hit": 60, "miss": 10}
"""Calls of a round. Of none does any contender record 512 spans, a batch: see the package."""

_TURNS, _QUICK_TURNS, _MOST_TURNS = 30, 4, 1_000


def main() -> int:
    options = _parser().parse_args()
    turns = _QUICK_TURNS if options.quick else options.turns
    calls = _QUICK_CALLS if options.quick else _CALLS
    try:
        from rich.console import Console
        from rich.progress import Progress

        from bench.race import BenchError, race
        from bench.report import conditions, save, show
        from bench.summary import summarize

        under = conditions(shlex.join(["python", "-m", "bench", *sys.argv[1:]]), turns, calls)
    except ModuleNotFoundError as error:  # a module or, from the versions, a distribution
        print(f"bench: {error.name} is not installed", file=sys.stderr)
        return 1
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("measuring", total=turns)
            rounds = race(turns, calls, lambda: progress.advance(task))
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
        "--turns",
        type=_turns,
        default=_TURNS,
        metavar="N",
        help="rounds of hits and of misses for each contender (default: %(default)s)",
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the result as a JSON file in bench/results"
    )
    return parser


def _turns(text: str) -> int:
    if text.isascii() and text.isdigit() and 2 <= int(text) <= _MOST_TURNS:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"must be a whole number from 2 to {_MOST_TURNS}, not {text!r}"
    )


if __name__ == "__main__":
    sys.exit(main())

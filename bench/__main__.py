"""The command `python -m bench`; what is measured stands in the package's docstring."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

PARTS = ("cost", "loop", "scale", "imports", "memory", "show")


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    parts = list(dict.fromkeys(options.parts)) or ["cost"]
    try:
        from rich.console import Console

        from bench import result
        from bench.measure import measure
        from bench.process import BenchError
        from bench.terminal import show

        if options.save or "show" in parts:
            import_module(
                "bench.pictures"
            )  # now, lest matplotlib is missed after hours of measuring
    except ModuleNotFoundError as error:
        print(f"bench: {error.name} is not installed: pip install '.[bench]'", file=sys.stderr)
        return 1
    measured: dict[str, Any] = {}
    command = shlex.join(["python", "-m", "bench", *arguments])
    try:
        for part in (one for one in parts if one != "show"):
            kept = measure(part, command, options)
            measured |= kept
            if options.save:
                result.save(result.saved() | kept)
                _write_documents()
    except (BenchError, ModuleNotFoundError) as error:  # the latter of a distribution, too
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"bench: interrupted; measured: {', '.join(measured) or 'nothing'}", file=sys.stderr)
        return 130
    if "show" in parts:
        _write_documents()
    if options.save or "show" in parts:
        measured = result.saved() | measured
    console = Console()
    show(measured, console if console.is_terminal else Console(width=120))
    return 0


def _write_documents() -> None:
    """Of what is saved."""
    from bench import documents, pictures, result

    saved = result.saved()
    documents.write(saved)
    pictures.draw(saved)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What instrumenting a cached Instructor client costs, beside the bare client.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="part",
        help="cost: a hit and a miss beside peers (the default). loop: of a program that does nothing else. "
        "scale: over keys, prompt size, threads, tasks, clients and stores. imports: what importing takes. "
        "memory: a million calls, for an hour. show: what was saved, and the documents anew",
        type=_part,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a minute or three, and rough")
    length.add_argument(
        "--heats",
        type=_heats,
        metavar="N",
        help="how often to begin again with new processes (default: 5 for cost, 2 for loop, 3 for scale)",
    )
    parser.add_argument(
        "--outages",
        action="store_true",
        help="of cost: what a call costs while the Collector is in trouble, as ratios to one that answers",
    )
    parser.add_argument(
        "--calls", type=_calls, metavar="N", help="of memory: how many (default: 1,000,000)"
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="keep the result in docs/cost, draw it, and put it into README.md",
    )
    return parser


def _part(text: str) -> str:
    if text in PARTS:
        return text
    raise argparse.ArgumentTypeError(f"must be one of {', '.join(PARTS)}, not {text!r}")


def _heats(text: str) -> int:
    return _whole(text, 1, 1_000)


def _calls(text: str) -> int:
    return _whole(text, 1_000, 100_000_000)


def _whole(text: str, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"must be a whole number from {least:,} to {most:,}, not {text!r}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

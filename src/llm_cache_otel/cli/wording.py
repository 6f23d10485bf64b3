"""How values are written for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def duration(seconds: float | None) -> str:
    """In the unit that fits: `84.2 µs`, `33.1 ms`, `5.62 s`; empty for `None`, which is unknown."""
    if seconds is None:
        return ""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.9995 else f"{seconds:,.2f} s"


def dollars(usd: float) -> str:
    """To the cent, or as far as it takes to see anything: `$12.30`, `$0.0042`, `-$0.50`."""
    sign = "-" if usd < 0 else ""
    digits = 2 if abs(usd) >= 1 or not usd else 4 if abs(usd) >= 0.001 else 6
    return f"{sign}${abs(usd):,.{digits}f}"


def ago(seconds: float) -> str:
    """How long ago, in whole units: `now`, `3 s ago`, `2 min ago`, `5 h ago`."""
    if seconds < 1:
        return "now"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds / length)} {unit} ago"
    return f"{int(seconds)} s ago"


def listed(words: Sequence[str]) -> str:
    """As in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def plain(value: Any) -> str:
    """On one line, and without what a terminal would take for a command: senders are not trusted."""
    characters = (" " if character.isspace() else character for character in str(value))
    return "".join(
        character if character.isprintable() else _REPLACEMENT for character in characters
    )

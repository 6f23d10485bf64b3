"""How the report is laid out: lines are folded between words only.

A name or a URL that does not fit is left to the terminal to fold, so that it can be copied whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

_INDENT = 2
_GAP = 3
_NARROWEST = 20


def rule(console: Console, title: str) -> None:
    console.rule(f"[bold]{title}[/]", align="left", style="dim")


def show_hanging(console: Console, head: Text, body: Text) -> None:
    """`body` beside `head`, and below itself."""
    width = max(_NARROWEST, console.width - _INDENT - len(head))
    for line in _folded(body, width) if body else [body]:
        _show(console, head, line)
        head = Text(" " * len(head))


def show_labelled(console: Console, rows: Sequence[tuple[str, str, Text]]) -> None:
    """A label, a value and a note on each line; on a line of its own a note that does not fit."""
    labels, values, notes = (max(len(row[i]) for row in rows) for i in range(3))
    room = console.width - _INDENT - labels - _GAP
    values = max(0, min(values, room - _GAP - notes))
    for label, value, note in rows:
        head, beside = Text(label.ljust(labels + _GAP)), value.ljust(values) + " " * _GAP
        if len(beside) + len(note) <= room:
            _show(console, head, Text.assemble(beside, note))
        else:
            show_hanging(console, head, Text(value))
            _show(console, Text(" " * len(head)), note)


def _folded(text: Text, width: int) -> Iterator[Text]:
    # As many words as fit, or else one word that does not.
    for match in re.finditer(rf"\S.{{0,{width - 1}}}(?!\S)|\S+", text.plain):
        line = text[match.start() : match.end()]
        line.rstrip()
        yield line


def _show(console: Console, head: Text, line: Text) -> None:
    console.print(Text.assemble(" " * _INDENT, head, line), soft_wrap=True)

"""The tables in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.documents import under, versions
from bench.tables import tables


def show(result: Mapping[str, Any], console: Console) -> None:
    for one in tables(result):
        table = Table(
            title=one.title,
            title_justify="left",
            box=SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        for number, heading in enumerate(one.headings):
            justify: Any = "left" if number < one.left else "right"
            table.add_column(heading, justify=justify, overflow="fold")
        for number, row in enumerate(one.rows):
            last = number + 1 == len(one.rows) or one.rows[number + 1][0] != row[0]
            table.add_row(*row, end_section=last and one.left > 1)
        console.print(table)
        if one.note:
            console.print(one.note.replace("`", ""), highlight=False, markup=False)
        console.print()
    for part, measured in result.items():
        sentence = under(measured["conditions"]).replace("`", "").replace("**", "")
        console.print(f"{part}: {sentence}", highlight=False, markup=False)
    for sentence in versions(result):
        console.print(sentence, highlight=False, markup=False)

"""The dashboards as Grafana is given them, and what their panels ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).resolve().parents[2] / "collector-config" / "grafana"
BOARDS = {
    file.stem: json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").iterdir())
}

BUILT_IN = {"__range": "1h", "__rate_interval": "1m", "__rate_interval_ms": "60000"}
"""Of Grafana's own variables those that queries use, and what they might be."""


@dataclass(frozen=True)
class Query:
    board: str
    panel: str
    expression: str
    legend: str
    instant: bool
    exemplars: bool

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}/{self.legend}"


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel


def below(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, however deep."""
    if isinstance(value, dict):
        yield from value.items()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from below(each)


def queries() -> list[Query]:
    """Every query of every panel and annotation."""
    return [
        Query(
            board,
            panel["title"],
            target["expr"],
            target.get("legendFormat", target.get("refId", "")),
            target.get("instant", False),
            target.get("exemplar", False),
        )
        for board, model in BOARDS.items()
        for panel in panels(model)
        for target in panel["targets"]
    ] + [
        Query(board, "annotation", each["expr"], each["name"], instant=False, exemplars=False)
        for board, model in BOARDS.items()
        for each in model["annotations"]["list"]
    ]


def used(text: str) -> set[str]:
    """The variables in a text."""
    return {
        name for pair in re.findall(r"\$(?:\{(\w+)[^}]*\}|(\w+))", text) for name in pair if name
    }


def filled_in(expression: str, **built_in: str) -> str:
    """A query as Grafana sends it with every variable at All."""
    values = dict.fromkeys(used(expression), ".*") | BUILT_IN | built_in
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)

"""The saved result as documents: docs/cost/README.md, and the tables in README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.process import ROOT
from bench.tables import Table, tables

README = ROOT / "README.md"
REPORT = ROOT / "docs" / "cost" / "README.md"
BEGIN, END = "<!-- cost:begin -->", "<!-- cost:end -->"

_PICTURES = {
    "scale": (
        "scale.svg",
        "What watching adds to a call, over keys, prompt size, threads, tasks, clients and stores",
    ),
    "memory": (
        "memory.svg",
        "Memory of a bare and of a watched process, and what a call adds meanwhile",
    ),
}
_PARTS = {
    "cost": "A call",
    "loop": "Without a pause",
    "outages": "A Collector in trouble",
    "scale": "Scale",
    "imports": "Import",
    "memory": "Memory",
}


def report(result: Mapping[str, Any]) -> str:
    """The whole of docs/cost/README.md."""
    found = tables(result)
    text = [
        "# What watching costs",
        "",
        "Written by `python -m bench show` from [cost.json](cost.json).",
        "",
    ]
    for part, title in _PARTS.items():
        if part not in result:
            continue
        text += [f"## {title}", ""]
        for table in found:
            if table.part.partition(" ")[0] == part:
                text += [f"**{table.title}**", "", markdown(table), ""]
        if part in _PICTURES:
            name, what = _PICTURES[part]
            text += [f"![{what}]({name})", ""]
        text += [under(result[part]["conditions"]), ""]
    for sentence in versions(result):
        text += [sentence, ""]
    return "\n".join(text)


def readme(text: str, result: Mapping[str, Any]) -> str:
    """README.md with what stands between the markers replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_extract(result)}{END}{after}"


def write(result: Mapping[str, Any]) -> None:
    REPORT.write_text(report(result), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), result), encoding="utf-8")


def _extract(result: Mapping[str, Any]) -> str:
    text = []
    if any("--quick" in part["conditions"]["command"] for part in result.values()):
        text += ["**Of a quick run, and therefore rough.**", ""]
    for table in tables(result):
        if table.part == "memory":
            text += [f"{table.title}: {table.note[0].lower()}{table.note[1:]}", ""]
        elif table.part != "scale points":
            text += [f"**{table.title}**", "", markdown(table), ""]
        if table.part in _PICTURES:
            name, what = _PICTURES[table.part]
            text += [f"![{what}](docs/cost/{name})", ""]
    taken = "; ".join(
        f"{part}: `{result[part]['conditions']['command']}`, {result[part]['conditions']['taken_at'][:10]}"
        for part in _PARTS
        if part in result
    )
    text += [f"{taken}. [All of it, and the conditions](docs/cost/README.md).", ""]
    return "\n".join(text)


def markdown(table: Table) -> str:
    rule = ["---"] * table.left + ["--:"] * (len(table.headings) - table.left)
    lines = ["| " + " | ".join(cells) + " |" for cells in (table.headings, rule, *table.rows)]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines)


def under(conditions: Mapping[str, Any]) -> str:
    """One sentence of how it was taken."""
    rest = {k: v for k, v in conditions.items() if k not in {"command", "taken_at", "versions"}}
    how = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rest.items())
    rough = "**Quick, and therefore rough.** " if "--quick" in conditions["command"] else ""
    return f"{rough}`{conditions['command']}`, {conditions['taken_at']}: {how}"


def versions(result: Mapping[str, Any]) -> list[str]:
    """Of what was measured; once, unless the parts differ."""
    told: dict[str, list[str]] = {}
    for part in (one for one in _PARTS if one in result):
        numbers = result[part]["conditions"]["versions"].items()
        told.setdefault(", ".join(f"{name} {number}" for name, number in numbers), []).append(part)
    return [f"Versions ({', '.join(parts)}): {numbers}." for numbers, parts in told.items()]

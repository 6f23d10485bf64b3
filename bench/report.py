"""Says what was measured: a table for the terminal, and a JSON file to keep."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.race import Round
from bench.summary import BASELINES, Line, Ratio

RESULTS = Path(__file__).resolve().parent / "results"

DISTRIBUTIONS = (
    "llm-cache-otel",
    "openinference-instrumentation-instructor",
    "opentelemetry-instrumentation-openai",
    "opentelemetry-instrumentation-genai-openai",
    "instructor",
    "openai",
    "pydantic",
    "opentelemetry-sdk",
)


def conditions(command: str, heats: int, turns: int, calls: dict[str, int]) -> dict[str, Any]:
    """What somebody needs to know in order to judge the numbers, or to take them again."""
    return {
        "command": command,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "heats": heats,
        "turns": turns,
        "calls_per_round": calls,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in DISTRIBUTIONS},
    }


def show(lines: Sequence[Line], under: dict[str, Any], console: Console) -> None:
    """The table: medians, and in brackets the quartiles; below it, how it was taken."""
    table = Table(
        title="What a call of create costs",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    base = lines[0].contender
    for heading in ("case", "contender"):
        table.add_column(heading, no_wrap=True)
    for heading in (f"wall / {base}", f"CPU / {base}", "wall µs", "CPU µs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.case,
            line.contender,
            _cell(line, line.wall),
            _cell(line, line.cpu),
            f"{line.wall_us:.0f}",
            f"{line.cpu_us:.0f}",
            end_section=line.contender == lines[-1].contender,
        )
    console.print(table)
    versions = ", ".join(f"{name} {number}" for name, number in under["versions"].items())
    sizes = under["calls_per_round"].items()
    rounds = " and ".join(f"{calls} calls ({case})" for case, calls in sizes)
    console.print(
        f"{under['command']}: heats {under['heats']}, turns {under['turns']}, rounds of {rounds}; "
        f"{under['cores']} cores, {under['platform']}, load before {under['load_before']}; "
        f"{versions}",
        highlight=False,
    )


def _cell(line: Line, ratio: Ratio) -> str:
    if line.contender in BASELINES:
        return "1"
    return f"{ratio.median:.3f} ({ratio.lower:.3f}-{ratio.upper:.3f})"


def save(lines: Sequence[Line], rounds: Sequence[Round], under: dict[str, Any]) -> Path:
    """Write the conditions, the summary and every round to a new file of `bench/results`."""
    RESULTS.mkdir(exist_ok=True)
    stamp = under["taken_at"].replace("+00:00", "Z").replace(":", "")
    path = RESULTS / f"{stamp}.json"
    result = {
        "conditions": under,
        "summary": [asdict(line) for line in lines],
        "rounds": [asdict(one) for one in rounds],
    }
    parts = ",\n".join(f'"{name}": {json.dumps(part)}' for name, part in result.items())
    path.write_text(f"{{\n{parts}\n}}\n", encoding="utf-8")
    return path

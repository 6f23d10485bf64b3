"""What is kept of the measurements: every round, and the conditions it was taken under, in one JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from bench.process import ROOT

PATH = ROOT / "docs" / "cost" / "cost.json"

_DISTRIBUTIONS = (
    "llm-cache-otel",
    "openinference-instrumentation-instructor",
    "opentelemetry-instrumentation-openai",
    "opentelemetry-instrumentation-genai-openai",
    "cachelens",
    "instructor",
    "openai",
    "pydantic",
    "opentelemetry-sdk",
)

Result = dict[str, Any]
"""By part. Each has its conditions, for one may be newer than another."""


def conditions(command: str, **how: object) -> dict[str, Any]:
    """What somebody needs to know in order to judge the numbers, or to take them again."""
    return {
        "command": command,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **how,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _DISTRIBUTIONS},
    }


def saved() -> Result:
    if not PATH.exists():
        return {}
    result: Result = json.loads(PATH.read_text(encoding="utf-8"))
    return result


def save(result: Mapping[str, Any]) -> None:
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(_text(result) + "\n", encoding="utf-8")


def _text(value: Any, indent: str = "") -> str:
    """JSON with a line for each thing that has none in it but numbers and words."""
    if not _is_nested(value):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, Mapping):
        parts = [f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    parts = [inner + _text(one, inner) for one in value]
    return "[\n" + ",\n".join(parts) + f"\n{indent}]"


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(isinstance(one, Mapping | list) for one in value.values())
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)

"""The alert rules with every duration shortened alike, so that a day of theirs is minutes.

`PYTHONPATH=tests python -m e2e.shortened FOLDER` writes them. It is a tool of tests, and stands among
them: nobody should run these rules in earnest. A scale of 75 makes five minutes, the shortest window,
four seconds: four scrapes, one second apart, of which Prometheus needs two. An hour is 48 seconds, a
day nineteen minutes, and the two hours of past that a comparison asks for a minute and a half. Counts
are not scaled: a hundred lookups an hour are a hundred in 48 seconds.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

SCALE = 75
PROMETHEUS = Path(__file__).parents[2] / "collector-config" / "prometheus"

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_DURATION = r"(?:\d+(?:ms|[smhdw]))+"
# Texts come first, so that nothing in them is taken for a duration. `[5m]`, `[1d:5m]` and `offset 1h` are
# all that PromQL has; names, such as `increase5m`, stand neither in brackets nor after `offset`.
_IN_PROMQL = re.compile(
    rf'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\[{_DURATION}(?::{_DURATION})?\]|\boffset\s+{_DURATION}'
)
_OF_RULES = ("interval", "for", "keep_firing_for")
_OF_ROUTES = ("group_wait", "group_interval", "repeat_interval")


def duration(text: str, scale: int = SCALE) -> str:
    """`1h` is `48s`.

    Raises:
        ValueError: it is no duration, or would be no whole number of milliseconds.
    """
    if not re.fullmatch(_DURATION, text):
        raise ValueError(f"{text!r} is no duration")
    milliseconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    short, rest = divmod(milliseconds, scale)
    if rest or not short:
        raise ValueError(f"{text} can't be divided by {scale} in milliseconds")
    return f"{short}ms" if short % 1000 else f"{short // 1000}s"


def promql(expression: str, scale: int = SCALE) -> str:
    def shorten(found: re.Match[str]) -> str:
        token = found[0]
        if token.startswith(('"', "'")):
            return token
        return re.sub(_DURATION, lambda part: duration(part[0], scale), token)

    return _IN_PROMQL.sub(shorten, expression)


def rules(text: str, scale: int = SCALE) -> str:
    """A rule file's."""
    content = yaml.safe_load(text)
    for group in content["groups"]:
        for part in (group, *group["rules"]):
            for key in _OF_RULES:
                if key in part:
                    part[key] = duration(part[key], scale)
        for rule in group["rules"]:
            rule["expr"] = promql(rule["expr"], scale)
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def routes(text: str, scale: int = SCALE) -> str:
    """An Alertmanager's."""
    return yaml.safe_dump(_shorten_routes(yaml.safe_load(text), scale), sort_keys=False)


def _shorten_routes(content: Any, scale: int) -> Any:
    if isinstance(content, list):
        return [_shorten_routes(each, scale) for each in content]
    if isinstance(content, dict):
        return {
            key: duration(value, scale) if key in _OF_ROUTES else _shorten_routes(value, scale)
            for key, value in content.items()
        }
    return content


def prometheus(to: Path, scale: int = SCALE) -> Path:
    """A copy of Prometheus' folder with shortened rules."""
    shutil.copytree(PROMETHEUS, to, ignore=shutil.ignore_patterns("*_test.yaml", "__pycache__"))
    for name in ("recording.yaml", "alerts.yaml"):
        file = to / "rules" / name
        file.write_text(rules(file.read_text(), scale))
    return to


if __name__ == "__main__":
    sys.stdout.write(f"{prometheus(Path(sys.argv[1]))}\n")

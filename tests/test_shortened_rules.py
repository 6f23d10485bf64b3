"""The shortened rules of the end-to-end tests are the rules, and nothing but durations differs."""

from __future__ import annotations

import re

import pytest
import yaml
from e2e import shortened

RULES = [shortened.PROMETHEUS / "rules" / name for name in ("recording.yaml", "alerts.yaml")]
ALERTMANAGER = shortened.PROMETHEUS.parent / "alertmanager.yaml"
NUMBER_AND_UNIT = re.compile(r"(?:\d+(?:ms|[smhdw]))+")


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("1h", "48s"),
        ("5m", "4s"),
        ("1m", "800ms"),
        ("23h30m", "1128s"),
        ("1w", "8064s"),
        ("75ms", "1ms"),
    ],
)
def test_durations(long: str, short: str) -> None:
    assert shortened.duration(long) == short


@pytest.mark.parametrize("bad", ["1y", "5", "", "1s2", "1ms", "0s"])
def test_what_can_not_be_shortened_is_said(bad: str) -> None:
    with pytest.raises(ValueError, match="duration|divided"):
        shortened.duration(bad)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("rate(x[5m])", "rate(x[4s])"),
        ("max_over_time(x[1d:5m] offset 1h)", "max_over_time(x[1152s:4s] offset 48s)"),
        ("x:increase5m offset 23h30m", "x:increase5m offset 1128s"),
        ("x{a=\"[5m] offset 1h\", b=~'[1m]'} > 5", "x{a=\"[5m] offset 1h\", b=~'[1m]'} > 5"),
        ('x{a="\\"[5m]"}[5m]', 'x{a="\\"[5m]"}[4s]'),
        ("sum by (past1d) (x1h)", "sum by (past1d) (x1h)"),
    ],
)
def test_only_durations_of_promql_are_shortened(long: str, short: str) -> None:
    assert shortened.promql(long) == short


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_no_duration_is_left_and_nothing_else_differs(file) -> None:
    long, short = (
        yaml.safe_load(file.read_text()),
        yaml.safe_load(shortened.rules(file.read_text())),
    )
    assert NUMBER_AND_UNIT.sub("", str(short)) == NUMBER_AND_UNIT.sub("", str(long))
    pairs = [
        pair
        for group, other in zip(long["groups"], short["groups"], strict=True)
        for pair in [(group, other), *zip(group["rules"], other["rules"], strict=True)]
    ]
    for ours, theirs in pairs:
        for key in ("interval", "for", "keep_firing_for"):
            assert (key in ours) == (key in theirs)
            assert key not in ours or theirs[key] != ours[key]
    # All that are in brackets or after `offset` were divided: their sum was.
    assert _sum(long) == pytest.approx(_sum(short) * shortened.SCALE)


def _sum(content: dict) -> int:
    expressions = " ".join(rule["expr"] for group in content["groups"] for rule in group["rules"])
    found = re.findall(r"(?<=[\[:])[\dsmhdw]+(?=[\]:])|(?<=offset )[\dsmhdw]+", expressions)
    assert found
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"(\d+)(ms|[smhdw])", " ".join(found))
    return sum(int(number) * units[unit] for number, unit in parts)


def test_windows_hold_four_scrapes() -> None:
    """Of one second, in the shortest that is asked of what is scraped."""
    text = "".join(shortened.rules(file.read_text()) for file in RULES)
    shortest = min(int(seconds) for seconds in re.findall(r"\[(\d+)s[\]:]", text))
    assert shortest == 4


def test_annotations_have_no_durations_of_promql() -> None:
    """They are texts, which are left as they are."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                texts = " ".join(rule.get("annotations", {}).values())
                assert not re.search(r"\[\d+[smhdw]|offset \d", texts)


def test_routes() -> None:
    long, short = (
        yaml.safe_load(ALERTMANAGER.read_text()),
        yaml.safe_load(shortened.routes(ALERTMANAGER.read_text())),
    )
    assert short["route"]["group_wait"] == "400ms"
    assert short["route"]["routes"][0]["repeat_interval"] == "192s"
    assert NUMBER_AND_UNIT.sub("", str(short)) == NUMBER_AND_UNIT.sub("", str(long))

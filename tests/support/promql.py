"""What a PromQL expression asks for, and what Prometheus has of the contract in docs/telemetry.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from llm_cache_otel.emit import names

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "collector-config" / "prometheus" / "rules"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
UNITS = {"s": "_seconds", "1": "_ratio"}
_NAMES = {value for value in vars(names).values() if isinstance(value, str)}
OF_ALL = {"job", "instance", "deployment_environment_name"}
"""Labels that are there whatever is asked: the service is Prometheus' `job`."""


def selectors(expression: Any) -> Iterator[Any]:
    """All vector selectors below an expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    if isinstance(expression, promql_parser.MatrixSelector):
        yield expression.vector_selector
    for child in ("expr", "lhs", "rhs", "args"):
        found = getattr(expression, child, None)
        for each in found if isinstance(found, list) else [found]:
            if each is not None:
                yield from selectors(each)


def labels_asked(expression: Any) -> Iterator[tuple[str, set[str]]]:
    """Each metric below an expression, with the labels that it is matched, grouped or joined by."""
    for each in selectors(expression):
        yield each.name, {matcher.name for matcher in each.matchers.matchers}
    yield from _grouped(expression)


def _grouped(expression: Any) -> Iterator[tuple[str, set[str]]]:
    modifier = getattr(expression, "modifier", None)
    if isinstance(expression, promql_parser.AggregateExpr) and modifier is not None:
        for each in selectors(expression.expr):
            yield each.name, set(modifier.labels)
    for child in ("expr", "lhs", "rhs", "args"):
        found = getattr(expression, child, None)
        for each in found if isinstance(found, list) else [found]:
            if each is not None:
                yield from _grouped(each)


def labels_kept(expression: Any) -> set[str] | None:
    """The labels of what an expression gives, where it groups by some; else `None`: those of its metrics."""
    if isinstance(expression, promql_parser.AggregateExpr):
        return set(expression.modifier.labels) if expression.modifier else set()
    if isinstance(expression, promql_parser.BinaryExpr):
        sides = [labels_kept(side) for side in (expression.lhs, expression.rhs)]
        known = [side for side in sides if side is not None]
        return set.union(*known) if known else None
    if isinstance(expression, promql_parser.Call):
        kept = [labels_kept(argument) for argument in expression.args]
        return next((labels - {"le"} for labels in kept if labels is not None), None)
    inner = getattr(expression, "expr", None)
    return None if inner is None else labels_kept(inner)


def contract() -> dict[str, set[str]]:
    """The labels of each of the contract's metrics, as Prometheus names both, by the reference's table."""
    text = (ROOT / "docs" / "telemetry.md").read_text()
    table = text.split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    attributes: dict[str, set[str]] = {}
    for _ in range(2):  # some rows go by others below them
        last: set[str] = set()
        for metrics, _kind, _unit, told in rows:
            last = _attributes(told, last, attributes)
            attributes |= dict.fromkeys(_names(metrics), last)
    prometheus: dict[str, set[str]] = {}
    for metrics, kind, unit, _told in rows:
        for name in _names(metrics):
            labels = {_escaped(attribute) for attribute in attributes[name]} | OF_ALL
            for suffix in SUFFIXES.get(kind.strip(), ("",)):
                series = _escaped(name) + UNITS.get(unit.strip(" `"), "") + suffix
                prometheus[series] = labels | ({"le"} if suffix == "_bucket" else set())
    return prometheus


def latest(known: dict[str, set[str]]) -> dict[str, set[str]]:
    """The Collector's second page: durations of the last interval alone, whose exemplars are the latest."""
    found = re.compile(r"(.*_duration)(_seconds_(?:bucket|sum|count))")
    matches = {name: found.fullmatch(name) for name in known}
    return {f"{m[1]}_latest{m[2]}": known[name] for name, m in matches.items() if m}


def recorded(known: dict[str, set[str]]) -> dict[str, set[str]]:
    """What the recording rules add, with the labels that they keep, or those of what they are made of."""
    added: dict[str, set[str]] = {}
    for group in yaml.safe_load((RULES / "recording.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            expression = promql_parser.parse(rule["expr"])
            labels = labels_kept(expression)
            if labels is None:
                metrics = [selector.name for selector in selectors(expression)]
                labels = set.union(*(({**known, **added})[name] for name in metrics))
            added[rule["record"]] = labels
    return added


def _names(cell: str) -> list[str]:
    """`a.b.c`, `.d` is a.b.c and a.b.d; of what of the first goes on, one of our names decides."""
    first, *rest = re.findall(r"`([^`]+)`", cell)
    stems = [first.rsplit(".", dots)[0] for dots in range(1, first.count(".") + 1)]
    whole = [next(stem + name for stem in ["", *stems] if stem + name in _NAMES) for name in rest]
    return [first, *whole]


def _attributes(told: str, last: set[str], known: dict[str, set[str]]) -> set[str]:
    """What a row says of a metric's attributes, some of it by what other rows say."""
    labels: set[str] = set(last) if "the same" in told else set()
    if other := re.match(r" as `([^`]+)`", told):
        return known[other[1]]
    if "as of the duration" in told:
        labels |= known.get(names.GEN_AI_OPERATION_DURATION, set())
    without = set(re.findall(r"without `([^`]+)`", told))
    return (labels | set(re.findall(r"`([^`]+)`", told)) & _NAMES) - without


def _escaped(name: str) -> str:
    return name.replace(".", "_")

"""What README.md and docs/cost say of costs is what was measured and saved, and nothing else."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from instructor.cache import AutoCache
from support.versions import HAS_NAMESPACES

from bench import documents, result, tables, worker
from bench.load import fill
from bench.names import BARE, OURS, UNSAMPLED, WRAPPED, WRAPPED_UNSAMPLED
from bench.workload import Provider, ask, messages


@pytest.fixture
def saved() -> dict[str, Any]:
    return result.saved()


def test_the_report_is_what_the_saved_result_gives(saved: dict[str, Any]) -> None:
    assert documents.REPORT.read_text(encoding="utf-8") == documents.report(saved)


def test_the_readme_has_the_figures_of_the_saved_result(saved: dict[str, Any]) -> None:
    text = documents.README.read_text(encoding="utf-8")
    assert text.count(documents.BEGIN) == text.count(documents.END) == 1
    assert documents.readme(text, saved) == text


def test_another_result_gives_another_readme(saved: dict[str, Any]) -> None:
    other = deepcopy(saved)
    for times in other["cost"]["rounds"]["hit"][OURS]["own"]:
        times[0] *= 2
    text = documents.README.read_text(encoding="utf-8")
    assert documents.readme(text, other) != text
    assert documents.report(other) != documents.report(saved)


def test_the_saved_result_names_no_place(saved: dict[str, Any]) -> None:
    text = json.dumps(saved)
    assert [word for word in ("/home", "/work", "/tmp", "/root", "127.0.0.1") if word in text] == []


def test_every_part_was_measured(saved: dict[str, Any]) -> None:
    parts = [table.part for table in tables.tables(saved)]
    assert parts == ["cost", "loop", "scale", "scale points", "imports", "memory"]


def pair(ours: float, cpu: float | None = None) -> dict[str, Any]:
    return {"bare": [[100.0, 100.0]] * 4, "own": [[ours, cpu or ours]] * 4}


@pytest.mark.parametrize(
    ("small", "large", "said"),
    [(110, 112, "1.20, flat"), (110, 130, "3.00, grows"), (130, 110, "0.33, falls")],
)
def test_what_grows_is_not_called_flat(small: float, large: float, said: str) -> None:
    points = [
        {"dimension": "keys", "case": "hit", "at": at, **pair(ours)}
        for at, ours in ((10, small), (100, large))
    ]
    part = {"points": points, "skipped": {}}
    summary, every = tables.tables({"scale": part})
    assert summary.rows[0][-1] == said
    assert [row[2] for row in every.rows] == ["10", "100"]


def test_a_target_is_met_or_not() -> None:
    others = {BARE: pair(100.0), WRAPPED: pair(101.0, 101.5)}
    unsampled = {UNSAMPLED: pair(102.1), WRAPPED_UNSAMPLED: pair(100.7, 101.1)}
    rounds = {
        "hit": {**others, OURS: pair(102.0), **unsampled},
        "miss": {**others, OURS: pair(106.0)},
    }
    (table,) = tables.tables({"cost": {"rounds": rounds}})
    told = {(row[0], row[1]): row[4] for row in table.rows}
    assert told["hit", "llm-cache-otel"] == "≤ 1.03 ✓, ≤ 1.08 ✓"
    assert told["miss", "llm-cache-otel"] == "≤ 1.05 ✗, ≤ 1.1 ✓"
    assert told["hit", UNSAMPLED] == "≤ 1.02 ✗"
    assert told["hit", "bare"] == ""
    assert table.note.endswith(
        "ours adds, of a hit's wall 1.0%, of its CPU 0.5%; of an unsampled hit's wall 1.4%, of its CPU 1.0%; "
        "of a miss's wall 5.0%, of its CPU 4.5%."
    )


def test_a_slow_moment_of_the_machine_is_no_cost() -> None:
    """It hits both of a pair; what interrupts one of them is one of many."""
    bare, own = [1.0, 2.0, 1.0, 2.0, 9.0], [1.1, 2.2, 1.1, 2.2, 1.1]
    took = {"bare": [(one, 0.0) for one in bare], "own": [(one, 0.0) for one in own]}
    assert worker.paired(took, 0) == {"bare": 2.0, "own": pytest.approx(2.2)}


def test_a_dimension_that_could_not_be_measured_is_told() -> None:
    part = {"points": [], "skipped": {"Redis": "redis-server is not on the PATH"}}
    summary, _ = tables.tables({"scale": part})
    assert "Redis is missing: redis-server is not on the PATH" in summary.note


@pytest.mark.skipif(not HAS_NAMESPACES, reason="the benchmark is of the newest keys")
@pytest.mark.parametrize("size", [0, 5_000])
def test_what_is_filled_beforehand_hits(size: int) -> None:
    provider, cache = Provider(), AutoCache(maxsize=1_000)
    client = provider.client(cache)
    fill(cache, 110, lambda number: ask(client, messages(number, size)))
    asked = provider.requests
    for number in (0, 9, 10, 99, 109):
        ask(client, messages(number, size))
    assert provider.requests == asked == 1
    ask(client, messages(110, size))
    assert provider.requests == asked + 1


def test_what_is_lost_in_noise_is_not_called_flat() -> None:
    def change(*ours: list[float]) -> str:
        points = [
            {"dimension": "keys", "case": "hit", "at": at, **pair(0), "own": rounds}
            for at, rounds in zip(
                (10, 100), ([[one, one] for one in end] for end in ours), strict=True
            )
        ]
        return str(tables.tables({"scale": {"points": points, "skipped": {}}})[0].rows[0][-1])

    assert change([90, 90, 110, 80], [90, 90, 120, 80]) == "lost in noise"
    assert change([101, 110, 110, 140], [101, 104, 136, 140]) == "2.00, within the error"

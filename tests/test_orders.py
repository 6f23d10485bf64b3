"""Wherever the application sets up OpenTelemetry, and in whatever order with all else: each signal
goes to its provider from then on, to a private pipeline before, and nothing twice or nowhere.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.books import REQUESTS
from support.orders import EVENTS
from support.programs import environment
from support.stage import Stage

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

ORDERS = [
    "".join(order)
    for size in range(4)
    for others in itertools.combinations("TMF", size)
    for order in itertools.permutations("IC" + "".join(others))
    if order.index("I") < order.index("C")
]
MODEL = "gen_ai.request.model"
INSTANCE = "service.instance.id"


class Played:
    """What became of every order: what its processes report, and what the receiver received."""

    def __init__(self, reports: list[dict[str, Any]], receiver: OtlpReceiver) -> None:
        self._reports = {(report["order"], report["process"]): report for report in reports}
        self._spans = [span for span in receiver.spans if span.name == "create User"]
        self._points = receiver.metrics().matching(REQUESTS)

    def report(self, order: str, process: str) -> dict[str, Any]:
        return self._reports[order, process]

    def privately_traced(self, order: str) -> list[tuple[str, str]]:
        """Labels of calls, and the instance that sent each."""
        return [
            (span.attributes[MODEL], span.resource[INSTANCE])
            for span in self._spans
            if span.resource["service.name"] == order
        ]

    def privately_counted(self, order: str) -> list[tuple[str, str]]:
        return [
            (point.attributes[MODEL], point.resource[INSTANCE])
            for point in self._points
            if point.resource["service.name"] == order
            for _ in range(int(point.value))
        ]


@pytest.fixture(scope="module")
def played(
    simulated_provider: SimulatedProvider, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    with OtlpReceiver() as receiver:
        variables = environment(simulated_provider, receiver, LLM_CACHE_OTEL_EXIT_TIMEOUT=30)
        program = f"from support.orders import play_all; play_all({ORDERS})"
        out, errors = stage.run(program, variables, tmp_path_factory.mktemp("orders"))
        assert "Traceback" not in errors, errors
        yield Played([json.loads(line) for line in out.splitlines()], receiver)


def calls_of(order: str) -> dict[str, list[str]]:
    """Labels of the calls that each process made: from the first one on, after every event."""
    calls: dict[str, list[str]] = {"parent": []}
    for place, event in enumerate(order):
        if event == "F":
            calls["child"] = []
        if "C" in order[: place + 1]:
            for process, labels in calls.items():
                labels.append(f"{process} {event}")
    return calls


def applies(event: str, order: str, label: str) -> bool:
    """Whether `event` had happened by the time of this call."""
    return event in order[: order.index(label[-1]) + 1]


@pytest.mark.parametrize("order", ORDERS)
def test_each_signal_goes_where_it_belongs(order: str, played: Played) -> None:
    calls = calls_of(order)
    everyones = [label for labels in calls.values() for label in labels]
    # A child's copy of what the application kept in memory still has what its parent put there.
    before_fork = [label for label in calls["parent"] if not applies("F", order, label)]
    for process, labels in calls.items():
        known = labels if process == "parent" else before_fork + labels
        report = played.report(order, process)
        traced = [label for label in known if applies("T", order, label)]
        counted = [label for label in known if applies("M", order, label)]
        assert report["traced"] == sorted(traced)
        assert report["counted"] == dict.fromkeys(counted, 1)
        assert report["globals are the application's"]
        assert not [said for said in report["said"] if "Overriding" in said]

    for event, private in (
        ("T", played.privately_traced(order)),
        ("M", played.privately_counted(order)),
    ):
        expected = [label for label in everyones if not applies(event, order, label)]
        assert Counter(label for label, _ in private) == Counter(expected)
        # No two processes say that they are the same one.
        whose = {(instance, label.split()[0]) for label, instance in private}
        assert len({instance for instance, _ in whose}) == len(whose)


def test_every_order_is_there() -> None:
    assert len(ORDERS) == 106
    assert set("".join(ORDERS)) == set(EVENTS)

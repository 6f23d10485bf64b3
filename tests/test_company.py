"""Beside other instrumentations, in any order: the program works, traces nest, and an inference is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from support.company import (
    NEIGHBOURS,
    OURS,
    SITUATIONS,
    Company,
    Kind,
    Told,
    ancestors,
    is_inference,
)

from llm_cache_otel.cli.simulate import SimulatedProvider

ORDERS = ("NCO", "CNO", "CON", "NCOn", "CONn", "NCOo", "CONo")
CASES = [
    pytest.param(name, kind, order, id=f"{name}, {kind.maker} {kind.mode or ''}, {order}")
    for name, neighbour in NEIGHBOURS.items()
    for kind in neighbour.kinds
    for order in ORDERS
    if not neighbour.on_client or order.index("C") < order.index("N")
]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the neighbours' own

Played = dict[str, Told]
Play = Callable[[str | None, Kind, str, bool], Played]


@pytest.fixture(scope="module")
def play(simulated_provider: SimulatedProvider) -> Play:
    """What is told by a neighbour and us, by either alone, or by nobody."""

    @cache
    def play(name: str | None, kind: Kind, events: str, asynchronous: bool) -> Played:
        neighbour = None if name is None else NEIGHBOURS[name]
        company = Company(neighbour, kind, simulated_provider, asynchronous)
        return asyncio.run(company.play(events))

    return play


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "kind", "order"), CASES)
def test_an_inference_is_told_once(
    name: str, kind: Kind, order: str, asynchronous: bool, play: Play
) -> None:
    both = play(name, kind, order, asynchronous)
    alone = play(name, kind, order.replace("O", "").replace("o", ""), asynchronous)
    ours = play(None, kind, "CO", asynchronous)
    for situation, told in both.items():
        check(situation, told, alone[situation], None if "o" in order else ours[situation])


def check(situation: str, both: Told, alone: Told, ours: Told | None) -> None:
    assert both.result == alone.result, situation
    expected = alone
    if ours is not None:
        assert both.asked == ours.asked
        nest(both.spans)
        if not alone.inferences:
            expected = ours
    assert both.inferences == expected.inferences, situation
    assert both.tokens == expected.tokens, situation
    if len(both.inferences) != both.asked: print("GAP", situation, both.asked, both.inferences)
    if sum(both.durations.values()) != both.asked: print("GAPD", situation, both.asked, both.durations)


def nest(spans: list[Any]) -> None:
    """One trace, which is ours, and everybody's inferences are in it."""
    (root,) = [span for span in spans if span.parent is None]
    assert root.name.startswith("create")
    assert root.instrumentation_scope.name == OURS
    for span in spans:
        assert span is root or root in ancestors(span, spans)

"""Beside other instrumentations: the program works, traces nest, and an inference is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from support.company import (
    NEIGHBOURS,
    OURS,
    Company,
    Kind,
    Told,
    ancestors,
)

from llm_cache_otel.cli.simulate import SimulatedProvider

ORDERS = ("NCO", "CNO", "CON", "NCOn", "CONn")
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
    """What is told by a neighbour and us, or by either alone."""

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
    alone = play(name, kind, order.replace("O", ""), asynchronous)
    ours = play(None, kind, "CO", asynchronous)
    expected = alone if alone["miss"].inferences else ours
    for situation, told in both.items():
        assert told.result == alone[situation].result, situation
        assert told.asked == ours[situation].asked, situation
        assert told.inferences == expected[situation].inferences, situation
        assert told.tokens == expected[situation].tokens, situation
        assert sum(told.durations.values()) == told.asked, situation
        assert set(told.durations) == set(
            expected[situation].durations or ours[situation].durations
        )
        nest(told.spans)
        if told.raised and situation != "failure":
            # Instructor takes their streams for asynchronous ones, and gives them up.
            assert (situation, asynchronous) == ("stream", False)
        else:
            assert len(told.inferences) == told.asked, situation


def nest(spans: list[ReadableSpan]) -> None:
    """One trace, with our `create` at its root."""
    (root,) = [span for span in spans if span.parent is None]
    assert root.name.startswith("create")
    assert root.instrumentation_scope.name == OURS
    for span in spans:
        assert span is root or root in ancestors(span, spans)


@pytest.mark.parametrize("order", ["NCOo", "CONo"])
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, each in NEIGHBOURS.items() for kind in each.kinds]
)
def test_nothing_of_ours_is_left_when_we_leave(
    name: str, kind: Kind, order: str, play: Play
) -> None:
    if NEIGHBOURS[name].on_client and order == "NCOo":
        order = "CNOo"
    left = play(name, kind, order, False)
    alone = play(name, kind, order.replace("Oo", "").replace("O", "").replace("o", ""), False)
    for situation, told in left.items():
        assert told.result == alone[situation].result
        assert told.inferences == alone[situation].inferences
        assert told.durations == alone[situation].durations
        assert not [span for span in told.spans if span.instrumentation_scope.name == OURS]

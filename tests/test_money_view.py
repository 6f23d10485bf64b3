"""Dollars as people read them."""

from __future__ import annotations

import pytest
from support.recording import Recording

from llm_cache_otel.cli.money import money_rows
from llm_cache_otel.cli.received import Point, ReceivedMetrics
from llm_cache_otel.cli.wording import dollars


@pytest.mark.parametrize(
    ("usd", "written"),
    [
        (0, "$0.00"),
        (12.345, "$12.35"),
        (-0.5, "-$0.5000"),
        (1234567, "$1,234,567.00"),
        (0.0042, "$0.0042"),
        (0.0000596, "$0.000060"),
    ],
)
def test_dollars(usd: float, written: str) -> None:
    assert dollars(usd) == written


def received(*points: tuple[str, float, dict[str, str]]) -> ReceivedMetrics:
    return ReceivedMetrics(
        tuple(
            Point(
                metric=metric,
                unit="",
                attributes=attributes,
                resource={},
                scope="llm_cache_otel",
                start_ns=0,
                time_ns=0,
                value=value,
            )
            for metric, value, attributes in points
        )
    )


def test_each_layer_and_what_is_left_of_it() -> None:
    metrics = received(
        ("llm_cache.saved.cost", 3.0, {"llm_cache.layer": "response"}),
        ("llm_cache.saved.cost", 0.5, {"llm_cache.layer": "prompt"}),
        ("llm_cache.write_premium.cost", 4.0, {}),
        ("llm_cache.spent.cost", 9.0, {}),
        ("gen_ai.client.inference.usage.input_tokens", 4000, {}),
        ("gen_ai.client.inference.usage.cache_read.input_tokens", 1000, {}),
        ("llm_cache.unpriced.requests", 2, {"llm_cache.unpriced.reason": "unknown_model"}),
        ("llm_cache.unpriced.requests", 1, {"llm_cache.unpriced.reason": "of tomorrow"}),
    )
    assert {
        label: value.plain for label, value in money_rows(metrics) if label != "without dollars"
    } == {
        "saved by hits": "$3.00",
        "saved by prompt caches": "$0.5000",
        "premium for writing to these": "-$4.00",
        "net savings": "-$0.5000",
        "spent": "$9.00",
        "read from prompt caches": "25.0% of 4,000 input tokens",
    }
    assert {value.plain for label, value in money_rows(metrics) if label == "without dollars"} == {
        "2 answers: no price is known of their model or service tier",
        "1 answer: of tomorrow",
    }


def test_nothing_is_shown_of_what_is_not_known(recording: Recording) -> None:
    assert list(money_rows(received())) == []
    without_a_cache = received(("gen_ai.client.inference.usage.input_tokens", 4000, {}))
    assert list(money_rows(without_a_cache)) == []

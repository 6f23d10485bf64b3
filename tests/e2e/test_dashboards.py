"""Every panel's query, with each variable at All, has an answer of the real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.boards import BOARDS, Query, filled_in, queries

from e2e import shortened
from e2e.conftest import Programs
from e2e.running import running
from e2e.stack import Collector, Prometheus
from e2e.stack.whole import QUICK
from e2e.waiting import eventually
from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WINDOWS = {"__range": "60s", "__rate_interval": "20s", "__rate_interval_ms": "20000"}


@pytest.fixture
def collector(tmp_path: Path, receiver: OtlpReceiver) -> Iterator[Collector]:
    jaeger = receiver.grpc_endpoint.removeprefix("http://")
    with Collector(
        tmp_path / "collector", "otel-collector.yaml", JAEGER_ENDPOINT=jaeger
    ) as collector:
        yield collector


@pytest.fixture
def prometheus(tmp_path: Path, collector: Collector) -> Iterator[Prometheus]:
    """With rules of which a day is minutes."""
    folder = shortened.prometheus(tmp_path / "shortened")
    with Prometheus(
        tmp_path / "prometheus", collector.moved, folder=folder, paces=QUICK
    ) as prometheus:
        yield prometheus


def is_answered(prometheus: Prometheus, query: Query) -> bool:
    """As Grafana asks: now, or over a range; of dots on a latency, for exemplars."""
    end = time.time()
    expression = filled_in(query.expression, **WINDOWS)
    over = {"start": str(end - 60), "end": str(end)}
    if query.exemplars:
        return bool(prometheus.ask("query_exemplars", query=expression, **over))
    if query.instant:
        found = prometheus.ask("query", query=expression, time=str(end))["result"]
        values = [one["value"] for one in found]
    else:
        found = prometheus.ask("query_range", query=expression, step="5", **over)["result"]
        values = [value for one in found for value in one["values"]]
    return any(value != "NaN" for _, value in values)


def values_of(prometheus: Prometheus, variable: str) -> list[str]:
    """What a variable offers, with those before it at All."""
    model = next(
        each for each in BOARDS["overview"]["templating"]["list"] if each["name"] == variable
    )
    inner, label = (
        model["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    )
    found: list[str] = prometheus.ask(f"label/{label}/values", **{"match[]": filled_in(inner)})
    return found


def test_every_panel_has_data(
    programs: Programs,
    own_provider: SimulatedProvider,
    collector: Collector,
    prometheus: Prometheus,
) -> None:
    providers = {"ANTHROPIC_BASE_URL": own_provider.url, "ANTHROPIC_API_KEY": "k"}
    where = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", **providers}
    with running(programs, "busy.be_busy", collector.grpc_endpoint, "busy", **where) as busy:

        def unanswered() -> None:
            busy.check()
            assert [str(query) for query in queries() if not is_answered(prometheus, query)] == []

        eventually(unanswered, timeout=450)
        busy.end()
    assert values_of(prometheus, "service") == ["busy"]
    assert values_of(prometheus, "environment") == ["test"]
    assert {"cached", "prompts"} <= set(values_of(prometheus, "name"))
    assert values_of(prometheus, "provider") == ["anthropic", "openai"]
    assert "a-model-of-our-own" in values_of(prometheus, "model")

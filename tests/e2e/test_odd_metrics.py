"""Metrics as no program of ours sends them: they take nothing from other services, nor from their own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.stack import Collector, Prometheus
from e2e.stack.whole import QUICK
from e2e.waiting import eventually

pytestmark = pytest.mark.e2e

REQUESTS = "llm_cache.requests"
DURATION = "gen_ai.client.operation.duration"
COUNTS = "gen_ai_client_operation_duration_seconds_count"
BOUNDS = [0.01, 0.1, 1.0]
DELTA = 1

# What Prometheus, its exporter or this Collector has labels of its own for, and what can be no label.
LABELS = (
    "le",
    "quantile",
    "job",
    "instance",
    "__name__",
    "_le",
    "collector.run",
    "collector.bounds",
    "",
)


class Reader:
    """A Collector and a Prometheus that reads it, and what is sent to it as it is."""

    def __init__(self, collector: Collector, prometheus: Prometheus) -> None:
        self.collector = collector
        self.prometheus = prometheus

    def sends(self, service: str, *metrics: dict[str, Any], scope: str = "a library") -> None:
        resource = {"attributes": attributes({"service.name": service})}
        of_scope = [{"scope": {"name": scope}, "metrics": metrics}]
        body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": of_scope}]}
        url = f"{self.collector.http_endpoint}/v1/metrics"
        answer = httpx.post(url, json=body, trust_env=False).raise_for_status().json()
        assert not answer.get("partialSuccess")

    def has(self, query: str, value: float) -> None:
        assert self.prometheus.total(query) == value

    def is_read(self) -> None:
        """Both pages, now."""
        pages = 'job="llm-cache"'
        assert self.prometheus.total(f"min_over_time(up{{{pages}}}[5s])") == 2


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    directory: Path = tmp_path_factory.mktemp("odd")
    nowhere = {"JAEGER_ENDPOINT": "127.0.0.1:1"}
    collector = Collector(directory / "collector", "otel-collector.yaml", **nowhere)
    prometheus = Prometheus(directory / "prometheus", collector.moved, paces=QUICK)
    with collector, prometheus:
        yield Reader(collector, prometheus)


def attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def point(labels: dict[str, str], **more: Any) -> dict[str, Any]:
    now = str(time.time_ns())
    times = {"startTimeUnixNano": now, "timeUnixNano": now}
    return {"attributes": attributes(labels), **times, **more}


def counter(value: float | str, name: str = REQUESTS, **labels: str) -> dict[str, Any]:
    points = [point(labels, asDouble=value)]
    kind = {"aggregationTemporality": DELTA, "isMonotonic": True, "dataPoints": points}
    return {"name": name, "unit": "{request}", "sum": kind}


def gauge(value: float, name: str = "llm_cache.entries", **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "unit": "{entry}",
        "gauge": {"dataPoints": [point(labels, asDouble=value)]},
    }


def histogram(
    count: int,
    bounds: list[float],
    name: str = DURATION,
    total: float | str = 1.0,
    **labels: str,
) -> dict[str, Any]:
    counts = [str(count), *["0"] * len(bounds)]
    buckets = {"explicitBounds": bounds, "bucketCounts": counts}
    points = [point(labels, count=str(count), sum=total, **buckets)]
    kind = {"aggregationTemporality": DELTA, "dataPoints": points}
    return {"name": name, "unit": "s", "histogram": kind}


def exponential(count: int, name: str = DURATION) -> dict[str, Any]:
    buckets = {
        "scale": 3,
        "zeroCount": "0",
        "positive": {"offset": 0, "bucketCounts": [str(count)]},
    }
    points = [point({}, count=str(count), sum=1.0, **buckets)]
    kind = {"aggregationTemporality": DELTA, "dataPoints": points}
    return {"name": name, "unit": "s", "exponentialHistogram": kind}


@pytest.mark.parametrize("label", LABELS)
def test_a_label_of_one_service_keeps_no_other_from_being_read(reader: Reader, label: str) -> None:
    sane, odd = f"sane-{label}", f"odd-{label}"
    counted = f'llm_cache_requests_total{{job="{sane}"}}'
    reader.sends(sane, counter(5))
    eventually(lambda: reader.has(counted, 5))
    labels = {label: "x"}
    reader.sends(odd, counter(1, **labels), gauge(1, **labels), histogram(1, BOUNDS, **labels))
    reader.sends(odd, counter(1, "odd.counter"), histogram(1, BOUNDS, "odd.duration", **labels))
    eventually(lambda: reader.has(f'odd_counter_total{{job="{odd}"}}', 1))
    reader.sends(sane, counter(50))
    eventually(lambda: reader.has(counted, 55))
    reader.is_read()


def test_buckets_say_what_le_is(reader: Reader) -> None:
    reader.sends("le", histogram(3, BOUNDS, le="x"), counter(2, le="x"), counter(3, le="y"))
    eventually(lambda: reader.has(f'{COUNTS}{{job="le"}}', 3))
    buckets = 'gen_ai_client_operation_duration_seconds_bucket{job="le"}'
    assert set(reader.prometheus.by("le", buckets)) == {"0.01", "0.1", "1.0", "+Inf"}
    eventually(lambda: reader.has('llm_cache_requests_total{job="le"}', 5))
    latest = reader.collector.page("PROMETHEUS_LATEST_ENDPOINT")
    assert not re.search(r'[{,]le="x"', latest)


def test_histograms_of_other_buckets_are_summed_apart(reader: Reader) -> None:
    """As of two versions, in a rolling deploy; those of the same buckets together."""
    for _ in range(8):
        reader.sends("rolling", histogram(10, BOUNDS), scope="one library")
        reader.sends("rolling", histogram(10, BOUNDS), scope="another library")
        reader.sends("rolling", histogram(5, [0.5]))
    counts = f'{COUNTS}{{job="rolling"}}'
    eventually(lambda: reader.has(counts, 200))
    apart = reader.prometheus.by("collector_bounds", counts)
    assert sorted(apart.values()) == [40, 160]
    assert all(re.fullmatch("[0-9a-f]{8}", bounds) for bounds in apart)


def test_explicit_and_exponential_histograms_are_summed_apart(reader: Reader) -> None:
    for _ in range(3):
        reader.sends("both", histogram(10, BOUNDS))
        reader.sends("both", exponential(7))
    counts = f'{COUNTS}{{job="both"}}'
    eventually(lambda: reader.has(counts, 51))
    assert reader.prometheus.by("collector_bounds", counts)["exponential"] == 21


ODD = ("NaN", "Infinity", "-Infinity", -100)


@pytest.mark.parametrize("value", ODD)
def test_what_can_not_be_summed_is_not(reader: Reader, value: float | str) -> None:
    service = f"sum-of{value}"
    for sent in (5, value, 7):
        reader.sends(service, counter(sent))
    eventually(lambda: reader.has(f'llm_cache_requests_total{{job="{service}"}}', 12))
    whole = counter(0)
    whole["sum"]["dataPoints"] = [point({}, asInt="-3")]
    reader.sends(service, whole, counter(8))
    eventually(lambda: reader.has(f'llm_cache_requests_total{{job="{service}"}}', 20))


@pytest.mark.parametrize("total", ODD[:3])
def test_nor_is_a_histogram_of_it(reader: Reader, total: str) -> None:
    service = f"histogram-of{total}"
    for sent, seconds in ((1, 2.0), (1, total), (1, 3.0)):
        reader.sends(service, histogram(sent, BOUNDS, total=seconds))
    sums = f'gen_ai_client_operation_duration_seconds_sum{{job="{service}"}}'
    eventually(lambda: reader.has(sums, 5.0))
    reader.has(f'{COUNTS}{{job="{service}"}}', 2)


def test_what_says_nothing_is_passed_by(reader: Reader) -> None:
    """Points without a value, a sum, or buckets; and summaries, which nobody can sum."""
    nothing, no_sum, no_buckets = counter(0), histogram(1, BOUNDS), histogram(1, [], "no.buckets")
    del nothing["sum"]["dataPoints"][0]["asDouble"]
    del no_sum["histogram"]["dataPoints"][0]["sum"]
    quantiles = [{"quantile": 0.5, "value": 1.0}]
    summary = {"dataPoints": [point({}, count="1", sum=1.0, quantileValues=quantiles)]}
    of_quantiles = {"name": "a.summary", "summary": summary}
    reader.sends("nothing", nothing, no_sum, no_buckets, of_quantiles, gauge(1))
    reader.sends("nothing", counter(4))
    eventually(lambda: reader.has('llm_cache_requests_total{job="nothing"}', 4))
    reader.has(f'{COUNTS}{{job="nothing"}}', 1)
    reader.has('no_buckets_seconds_count{job="nothing"}', 1)
    reader.has('{__name__=~"a_summary.*"}', 0)
    reader.is_read()


def test_a_run_is_an_id_and_nothing_is_warned_of(reader: Reader) -> None:
    reader.sends("run", counter(1))
    counted = 'llm_cache_requests_total{job="run"}'
    eventually(lambda: reader.has(counted, 1))
    (run,) = reader.prometheus.by("collector_run", counted)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run)
    said = reader.collector.said()
    assert "nil value" not in said
    assert "Everything is ready" in said

"""A deploy with another schema: the hit rate falls, somebody is told, it is well again, and they are told.

All is real but the provider: programs, Redis, Collector, Prometheus, Alertmanager. An hour of the rules is 48
seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.programs import ended, environment, start, unmeasured

from e2e import shortened
from e2e.stack import Collector, alertmanager, redis
from e2e.stack.backends import Prometheus
from e2e.stack.whole import QUICK
from e2e.waiting import eventually
from e2e.webhook import Notice, Webhook
from llm_cache_otel.cli.simulate import SimulatedProvider

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ALERT = "LLMCacheHitRateFallingAfterDeploy"
OTHERS = ("LLMCacheHitRateFalling", "LLMCacheHitRateCollapsed", "LLMCacheTelemetryLost")
HOUR = 3600 / shortened.SCALE
PROCESSES = 4
POOL = 700
"""Invoices, and as many customers. A round takes seventy seconds or more: so long do invoices miss."""
PAUSE = 0.15

PROGRAM = """
import sys
from support.caller import import_all
from e2e import shop
import_all()
version, processes, pool, pause, go, end = sys.argv[1:]
shop.run(int(version), processes=int(processes), pool=int(pool), pause=float(pause), go=go, end=end)
"""


@dataclass
class Calls:
    """What the programs noted of each call by themselves."""

    file: Path

    def rate(self, since: float, until: float) -> float:
        """The share of hits of the calls that ended then."""
        hits = [
            int(hit)
            for when, hit in (line.split() for line in self.file.read_text().splitlines())
            if since <= float(when) < until
        ]
        assert hits, "no calls"
        return sum(hits) / len(hits)


@dataclass
class Shop:
    """Its versions, as they are deployed."""

    directory: Path
    variables: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def prepare(
        self, version: int, name: str, *, pause: float, end: str = ""
    ) -> Callable[[], None]:
        """Programs that have started and wait; what lets them go."""
        go = self.directory / f"go-{name}"
        arguments = (version, PROCESSES, POOL, pause, go, end and self.directory / end)
        self.running.append(start(PROGRAM, self.variables, *arguments))
        return go.touch

    def end(self, file: str) -> None:
        (self.directory / file).touch()
        self.wait()

    def wait(self) -> None:
        """Until the oldest of them has ended well."""
        process = self.running.pop(0)
        _, errors = ended(process, timeout=200)
        assert process.returncode == 0, errors


@dataclass
class Scene:
    calls: Calls
    shop: Shop
    prometheus: Prometheus
    webhook: Webhook

    def state(self, alert: str = ALERT) -> str:
        found = {
            one["state"]
            for one in self.prometheus.ask("alerts")["alerts"]
            if one["labels"]["alertname"] == alert
        }
        assert len(found) <= 1, found
        return "".join(found)


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    folder = shortened.prometheus(directory / "rules")
    for each in ("alertmanager", "shop"):
        (directory / each).mkdir()
    (directory / "alertmanager" / "webhook-token").write_text("from-a-file")
    with (
        SimulatedProvider() as provider,
        Webhook() as webhook,
        redis(directory / "redis") as store,
        # Of traces nothing is asked here; they wait for a Jaeger that is not there.
        Collector(
            directory / "collector", "otel-collector.yaml", JAEGER_ENDPOINT="127.0.0.1:9"
        ) as collector,
    ):
        alerts = alertmanager(directory / "alertmanager", moved={"127.0.0.1:9095": webhook.address})
        routes = directory / "alertmanager" / "alertmanager.yaml"
        routes.write_text(shortened.routes(routes.read_text()))
        moved = {**collector.moved, "127.0.0.1:9093": alerts.address}
        prometheus = Prometheus(directory / "prometheus", moved, folder=folder, paces=QUICK)
        # How long a sample holds is the one duration that is not in the files.
        prometheus.command.append(f"--query.lookback-delta={shortened.duration('5m')}")
        variables = environment(
            provider,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.grpc_endpoint,
            OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta",
            OTEL_METRIC_EXPORT_INTERVAL=500,
            OTEL_SERVICE_NAME="shop",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=prod",
            REDIS_URL=f"redis://{store.address}/0",
            CALLS=directory / "calls",
        )
        shop = Shop(directory / "shop", unmeasured(variables))
        with alerts, prometheus:
            try:
                yield Scene(Calls(directory / "calls"), shop, prometheus, webhook)
            finally:
                for process in shop.running:
                    os.killpg(process.pid, signal.SIGKILL)  # with those that it made
                    process.communicate()


def test_a_deploy_that_changes_a_schema_is_alerted_of_and_its_end_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as now:
        shop = now.shop
        first = shop.prepare(1, "warm-up", pause=0)
        second = shop.prepare(1, "steady", pause=PAUSE, end="end-1")
        first()
        shop.wait()

        began = time.time()
        second()
        third = shop.prepare(2, "deployed", pause=PAUSE, end="end-2")
        time.sleep(4.5 * HOUR)
        assert now.state() == ""
        assert not _others(now)
        assert not now.webhook.of(ALERT)
        steady = now.calls.rate(began, time.time())
        assert steady > 0.99
        old = _digest(now.prometheus)

        deployed = time.time()
        third()
        shop.end("end-1")
        states: list[str] = []
        notice = eventually(lambda: _told(now, states), timeout=3 * HOUR)
        told = time.time()
        assert list(dict.fromkeys(states)) in (["", "pending", "firing"], ["pending", "firing"])

        assert notice.receiver == "tickets"
        assert notice.labels["job"] == "shop"
        assert notice.labels["deployment_environment_name"] == "prod"
        assert notice.labels["llm_cache_name"] == "desk"
        text = notice.annotations["description"]
        rate, past = (float(number) / 100 for number in re.findall(r"([\d.]+)%", text)[:2])
        assert past == pytest.approx(steady, abs=0.02), text
        # What was so in the hour before it was decided, some seconds ago.
        hours = [now.calls.rate(told - ago - HOUR, told - ago) for ago in (0.0, 12.0)]
        assert min(hours) - 0.05 <= rate <= max(hours) + 0.05, (text, hours)
        new = _digest(now.prometheus) - old
        assert len(new) == 1
        assert f"Invoice (digest {next(iter(new))[1]}, since " in text
        assert "Customer" not in text

        eventually(lambda: _fires_silently(now), timeout=HOUR)
        eventually(lambda: _has_ended(now), timeout=6 * HOUR)
        ended = time.time()
        assert now.calls.rate(ended - HOUR / 12, ended) > 0.9
        assert now.state() == ""
        # What ends with a group is told as ended, even if it was silent; but nothing else was told as firing.
        assert not _others(now)
        _rules_found_data(now.prometheus)
        shop.end("end-2")
        assert deployed < told < ended


def _others(now: Scene) -> list[Notice]:
    """What is told beside the alert.

    Prometheus knows of no page for its first five seconds, which is longer than `for` is here.
    """
    return [
        each
        for name in OTHERS
        for each in now.webhook.of(name)
        if each.labels.get("lost") != "pages"
    ]


def _told(now: Scene, states: list[str]):
    states.append(now.state())
    found = now.webhook.of(ALERT)
    assert found, (states[-1], now.calls.rate(time.time() - 10, time.time()))
    states.append("firing")
    return found[0]


def _fires_silently(now: Scene) -> None:
    """The fall, beside what says why."""
    assert now.state("LLMCacheHitRateFalling") == "firing"
    assert not now.webhook.of("LLMCacheHitRateFalling")


def _has_ended(now: Scene) -> None:
    assert now.webhook.of(ALERT, "resolved")


def _digest(prometheus: Prometheus) -> set[tuple[str, str]]:
    found = prometheus.vector(
        f"last_over_time(llm_cache_schema_info_ratio{{job='shop'}}[{int(HOUR)}s])"
    )
    return {
        (dict(each)["instructor_response_model"], dict(each)["llm_cache_schema_digest"])
        for each in found
    }


NOT_HERE = {
    "llm_cache:write_premium_cost:increase5m",
    "llm_cache:write_premium_cost:increase1h",
    "llm_cache:bypass_share:ratio1h",
    "llm_cache:bypass_share:past1d",
    "llm_cache:prompt_requests:past1d",
    "llm_cache:prompt_read_share:past1d",
    "llm_cache:prompt_read_share:fallen1h",
}
"""Nobody bypasses, or writes to a prompt cache at a premium, and in the steady past no provider is asked."""


def _rules_found_data(prometheus: Prometheus) -> None:
    groups = prometheus.ask("rules")["groups"]
    every = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in every} == {"ok"}, every
    recorded = {rule["name"] for rule in every if rule["type"] == "recording"}
    window = f"{int(5 * HOUR)}s"
    names = f"count by (__name__) (last_over_time({{__name__=~'llm_cache:.+'}}[{window}]))"
    found = {dict(labels)["__name__"] for labels in prometheus.vector(names)}
    assert recorded - found <= NOT_HERE

"""A real Alertmanager with `alertmanager.yaml`: who is told, and what is silent beside what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from e2e import shortened
from e2e.stack import Server, alertmanager
from e2e.waiting import eventually
from e2e.webhook import Webhook

pytestmark = pytest.mark.e2e

FALLING, COLLAPSED = "LLMCacheHitRateFalling", "LLMCacheHitRateCollapsed"
AFTER_DEPLOY = "LLMCacheHitRateFallingAfterDeploy"
ABSENT, LOST = "LLMCacheTelemetryAbsent", "LLMCacheTelemetryLost"
ERRORS, SLOW = "LLMCacheBackendErrors", "LLMCacheBackendSlow"
SCALE = 300
GROUP_INTERVAL = 300 / SCALE


@dataclass
class Told:
    """An Alertmanager that is told of alerts, and a webhook that it tells."""

    server: Server
    webhook: Webhook

    def of(self, *alerts: dict[str, str], ended: bool = False) -> None:
        now = datetime.now(UTC)
        ends = {"endsAt": (now - timedelta(seconds=1)).isoformat()} if ended else {}
        body = [
            {"labels": labels, "startsAt": (now - timedelta(minutes=1)).isoformat(), **ends}
            for labels in alerts
        ]
        url = f"http://{self.server.address}/api/v2/alerts"
        httpx.post(url, json=body, trust_env=False).raise_for_status()

    def then(self) -> set[tuple[str, str]]:
        """Service and alert of all that the webhook was told, after what Alertmanager has as active."""
        url = f"http://{self.server.address}/api/v2/alerts"
        every = httpx.get(url, trust_env=False).raise_for_status().json()
        active = [one["labels"] for one in every if one["status"]["state"] == "active"]

        def arrived() -> None:
            told = [each.labels for each in self.webhook.notices]
            assert all(labels in told for labels in active)

        eventually(arrived)
        time.sleep(2 * GROUP_INTERVAL)  # what is silent would have been told with its group
        return {(each.labels["job"], each.name) for each in self.webhook.notices}


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    (tmp_path / "webhook-token").write_text("from-a-file")
    with Webhook() as webhook:
        server = alertmanager(tmp_path, moved={"127.0.0.1:9095": webhook.address})
        file = tmp_path / "alertmanager.yaml"
        file.write_text(shortened.routes(file.read_text(), SCALE))
        with server:
            yield Told(server, webhook)


def alert(name: str, job: str = "shop", severity: str = "warning", **more: str) -> dict[str, str]:
    return {"alertname": name, "job": job, "severity": severity, **more}


def test_severity_says_who_is_told_with_the_token_of_a_file(told: Told) -> None:
    told.of(alert(COLLAPSED, severity="critical"), alert(SLOW))
    told.then()
    receivers = {each.name: each.receiver for each in told.webhook.notices}
    assert receivers == {COLLAPSED: "pager", SLOW: "tickets"}
    assert told.webhook.authorizations == {"Bearer from-a-file"}


def test_the_end_is_told_too(told: Told) -> None:
    told.of(alert(SLOW))
    eventually(lambda: _one(told.webhook.of(SLOW)))
    told.of(alert(SLOW), ended=True)
    eventually(lambda: _one(told.webhook.of(SLOW, "resolved")))


def _one(found: list) -> None:
    assert len(found) == 1


def test_a_collapse_silences_the_fall_of_the_same_cache_only(told: Told) -> None:
    told.of(alert(COLLAPSED, llm_cache_name="a"))
    told.of(
        *(alert(name, llm_cache_name="a") for name in (FALLING, AFTER_DEPLOY, SLOW)),
        alert(FALLING, llm_cache_name="b"),
        alert(FALLING, "another", llm_cache_name="a"),
        alert(FALLING, "shop-test", deployment_environment_name="test", llm_cache_name="a"),
    )
    told.then()
    heard = {
        (each.name, each.labels["job"], each.labels["llm_cache_name"])
        for each in told.webhook.notices
    }
    assert heard == {
        (SLOW, "shop", "a"),
        (COLLAPSED, "shop", "a"),
        (FALLING, "another", "a"),
        (FALLING, "shop", "b"),
        (FALLING, "shop-test", "a"),
    }


def test_another_environment_is_not_silenced(told: Told) -> None:
    told.of(alert(COLLAPSED, deployment_environment_name="test"))
    told.of(alert(FALLING, deployment_environment_name="prod"))
    assert told.then() == {("shop", COLLAPSED), ("shop", FALLING)}


def test_a_fall_after_a_deploy_is_told_once(told: Told) -> None:
    told.of(alert(AFTER_DEPLOY))
    told.of(alert(FALLING))
    assert told.then() == {("shop", AFTER_DEPLOY)}


def test_errors_silence_slowness_of_the_same_backend_only(told: Told) -> None:
    told.of(alert(ERRORS, llm_cache_backend="redis"))
    told.of(alert(SLOW, llm_cache_backend="redis"), alert(SLOW, "b", llm_cache_backend="redis"))
    assert told.then() == {("shop", ERRORS), ("b", SLOW)}


def test_silence_silences_the_rest_of_that_service(told: Told) -> None:
    told.of(alert(ABSENT))
    rest = (FALLING, COLLAPSED, ERRORS, SLOW, LOST)
    told.of(*(alert(name, llm_cache_name="a") for name in rest), alert(FALLING, "another"))
    assert told.then() == {("shop", ABSENT), ("shop", LOST), ("another", FALLING)}


def test_without_services_pages_no_service_is_said_to_be_silent(told: Told) -> None:
    told.of(alert(LOST, "llm-cache", lost="pages"))
    told.of(alert(ABSENT, "a"), alert(ABSENT, "b"), alert(LOST, "llm-cache", lost="page"))
    told.of(alert(LOST, "otel-collector", lost="page"))
    assert told.then() == {("llm-cache", LOST), ("otel-collector", LOST)}
    lost = {(each.labels["job"], each.labels["lost"]) for each in told.webhook.notices}
    assert lost == {("llm-cache", "pages"), ("otel-collector", "page")}


@pytest.mark.parametrize("job", ["llm-cache", "otel-collector"])
def test_one_page_of_several_silences_nobody(told: Told, job: str) -> None:
    """The Collector's own, or that of a gateway which was retired."""
    told.of(alert(LOST, job, lost="page", instance="retired:8889"))
    told.of(alert(ABSENT, "a"))
    assert told.then() == {(job, LOST), ("a", ABSENT)}


def test_what_is_lost_otherwise_silences_nothing(told: Told) -> None:
    told.of(alert(LOST, "otel-collector", lost="queue"))
    told.of(alert(ABSENT, "a"))
    assert told.then() == {("otel-collector", LOST), ("a", ABSENT)}


def test_what_is_wrong_with_one_cache_is_one_message(told: Told) -> None:
    told.of(alert(SLOW), alert("LLMCacheKeySlow"), alert(SLOW, "another"))
    told.then()
    assert sorted(told.webhook.sizes) == [1, 2]

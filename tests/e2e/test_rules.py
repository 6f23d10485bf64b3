"""Prometheus' and Alertmanager's own tools on the files as they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from e2e import shortened
from e2e.stack import finding

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROMETHEUS = shortened.PROMETHEUS
TESTS = sorted((PROMETHEUS / "rules").glob("*_test.yaml"))


def promtool(*arguments: str | Path) -> None:
    ended = subprocess.run([finding.promtool(), *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_configuration_and_its_rules_are_right() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yaml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_fire_and_stay_quiet(file: Path) -> None:
    promtool("test", "rules", file)


def test_the_shortened_rules_are_right(tmp_path: Path) -> None:
    folder = shortened.prometheus(tmp_path / "prometheus")
    promtool("check", "config", folder / "prometheus.yaml")


def test_the_routes_are_right() -> None:
    finding.alertmanager()
    amtool = shutil.which("amtool")
    assert amtool is not None, "amtool comes with Alertmanager"
    file = PROMETHEUS.parent / "alertmanager.yaml"
    ended = subprocess.run([amtool, "check-config", file], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr

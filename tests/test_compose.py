"""compose.yaml, as far as can be checked without a Docker engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[1] / "collector-config"
FILE = CONFIG / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
RUNS_ONCE = {"permissions"}
ASKED_BY_ANOTHER = {"otel-collector": "otel-collector-health"}
"""Whose image has nothing to ask with, and who asks."""

EACH = pytest.mark.parametrize("name", SERVICES)


def mounts(name: str) -> dict[str, str]:
    """Source by target."""
    parts = (mount.split(":") for mount in SERVICES[name].get("volumes", []))
    return {target: source for source, target, *_ in parts}


@EACH
def test_every_image_is_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", SERVICES[name]["image"])


@EACH
def test_every_service_comes_back_and_says_how_it_is(name: str) -> None:
    if name in RUNS_ONCE:
        assert SERVICES[name]["restart"] == "no"
        return
    assert SERVICES[name]["restart"] == "unless-stopped"
    asking = ASKED_BY_ANOTHER.get(name, name)
    assert SERVICES[asking]["healthcheck"]["test"][0] == "CMD"
    if asking != name:
        assert SERVICES[asking]["network_mode"] == f"service:{name}"


@EACH
def test_ports_are_this_machines_own(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@EACH
def test_what_is_mounted_is_there(name: str) -> None:
    for target, source in mounts(name).items():
        if source.startswith("."):
            assert (CONFIG / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], target


def test_what_is_mounted_over_a_folder_finds_a_place_there() -> None:
    inner, outer = "/etc/prometheus/targets", "/etc/prometheus"
    assert mounts("prometheus").keys() >= {inner, outer}
    assert (CONFIG / mounts("prometheus")[outer] / "targets").is_dir()


@pytest.mark.parametrize("name", ["otel-collector", "jaeger"])
def test_variables_are_the_files_own_and_listen_to_others(name: str) -> None:
    text = (CONFIG / f"{name}.yaml").read_text()
    known = set(re.findall(r"\$\{env:(\w+)", text))
    given = SERVICES[name]["environment"]
    assert given.keys() <= known
    ports = dict(re.findall(r"\$\{env:(\w+_ENDPOINT):-127\.0\.0\.1:(\d+)", text))
    reached = {variable for variable, value in given.items() if value.startswith("0.0.0.0")}
    unreached = {"HEALTH_ENDPOINT", "JAEGER_ENDPOINT", "QUERY_GRPC_ENDPOINT"}
    assert ports.keys() - reached <= unreached


def test_grafana_is_given_the_variables_that_its_files_ask_for() -> None:
    files = (CONFIG / "grafana" / "provisioning").rglob("*.yaml")
    asked = set.union(*(set(re.findall(r"\$\{(\w+)\}", file.read_text())) for file in files))
    environment = SERVICES["grafana"]["environment"]
    assert asked == {variable for variable in environment if not variable.startswith("GF_")}
    for variable in ("PROMETHEUS_URL", "JAEGER_URL"):
        assert re.fullmatch(r"http://(\w+):\d+", environment[variable])[1] in SERVICES
    in_container = set(mounts("grafana"))
    assert environment["DASHBOARDS"] in in_container
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (CONFIG / mounts("grafana")[str(home.parent)] / home.name).exists()


def test_prometheus_scrapes_the_same_ports_there_as_here() -> None:
    """Its file is the same; only the files of targets are others."""
    here, there = (CONFIG / "prometheus" / folder for folder in ("targets", "targets-compose"))
    assert {file.name for file in here.iterdir()} == {file.name for file in there.iterdir()}
    for file in here.iterdir():
        targets, in_compose = (
            [target for group in yaml.safe_load(each.read_text()) for target in group["targets"]]
            for each in (file, there / file.name)
        )
        hosts, ports = zip(*(target.split(":") for target in in_compose), strict=True)
        assert set(hosts) <= SERVICES.keys()
        assert targets == [f"127.0.0.1:{port}" for port in ports]
        assert f"targets/{file.name}" in (CONFIG / "prometheus" / "prometheus.yaml").read_text()


def test_prometheus_and_alertmanager_read_the_files_that_are_mounted() -> None:
    for name in ("prometheus", "alertmanager"):
        command = dict(flag.removeprefix("--").split("=") for flag in SERVICES[name]["command"])
        read = Path(command["config.file"])
        places = {Path(target): CONFIG / source for target, source in mounts(name).items()}
        found = [
            places[place] / read.relative_to(place) for place in places if place in read.parents
        ]
        assert any(file.is_file() for file in [*found, places.get(read, CONFIG)])


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = ["docker", "compose", "version"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="no docker compose here")
def test_compose_itself_reads_it() -> None:
    command = ["docker", "compose", "-f", str(FILE), "config", "--format", "json"]
    read = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(read.stdout)["services"].keys() == SERVICES.keys()

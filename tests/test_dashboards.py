"""The dashboards, as far as can be checked without Grafana; tests/e2e asks a real Prometheus all of it."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import dashboards
import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from support.boards import BOARDS, BUILT_IN, GRAFANA, Query, below, filled_in, panels, queries, used
from support.promql import contract, labels_asked, labels_kept, latest, recorded, selectors

ALERTS = {"ALERTS": {"alertname", "alertstate", "severity", "job"}}
SCRAPES = {"up": {"job", "instance"}}
CONTRACT = contract()
KNOWN = CONTRACT | latest(CONTRACT) | recorded(CONTRACT) | ALERTS | SCRAPES
OF_THE_COLLECTOR = re.compile("otelcol_[a-z_]+")
"""Its names are its own: tests/e2e asks for them."""

EACH = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def test_what_is_committed_is_what_the_code_makes() -> None:
    made = dashboards.files()
    committed = {file.name: file.read_text() for file in (GRAFANA / "dashboards").iterdir()}
    assert committed.keys() == made.keys()
    for name, text in made.items():
        assert committed[name] == text, f"{name} is of older code: make dashboards"


@EACH
def test_the_typed_model_reads_and_writes_it_as_it_is(board: dict[str, Any]) -> None:
    register_default_plugins()
    again = json.loads(dashboards.encoded(Dashboard.from_json(board)))
    for each in [*again["links"], *again["annotations"]["list"]]:
        each["placement"] = ""  # which the model can write, and not read
    assert again == board


@EACH
def test_panels_are_told_apart_and_do_not_overlap(board: dict[str, Any]) -> None:
    every = board["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in panels(board)}) == len(list(panels(board)))
    places = [panel["gridPos"] for panel in every]
    for place in places:
        assert place["x"] + place["w"] <= 24
        assert min(place["w"], place["h"]) > 0
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@EACH
def test_no_gaps_in_the_grid(board: dict[str, Any]) -> None:
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    area = sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in board["panels"])
    assert area == 24 * bottom


@EACH
def test_every_panel_says_what_to_make_of_it_and_in_what_unit(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["targets"], panel["title"]
        defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
        in_columns = {each["id"] for override in overrides for each in override["properties"]}
        unitless = panel["type"] in {"state-timeline", "heatmap"}  # an axis has a heatmap's
        assert defaults.get("unit") or "unit" in in_columns or unitless, panel["title"]


@EACH
def test_every_variable_that_is_used_is_defined_and_used(board: dict[str, Any]) -> None:
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert {"service", "name", "provider", "model"} < variables.keys()
    texts = [json.dumps(board["panels"]), json.dumps(board["annotations"])]
    asked = set.union(*map(used, texts)) - {"__from", "__to", "__data"} - BUILT_IN.keys()
    assert asked == variables.keys()
    known: set[str] = set()
    for name, variable in variables.items():
        assert used(json.dumps(variable)) - {"__all"} <= known, "made of those before it"
        known.add(name)
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]
            assert variable["allValue"] == ".*"


@EACH
def test_all_data_is_of_sources_that_are_provisioned(board: dict[str, Any]) -> None:
    sources = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "sources.yaml").read_text()
    )
    provisioned = {source["uid"]: source["type"] for source in sources["datasources"]}
    chosen = next(each for each in board["templating"]["list"] if each["name"] == "datasource")
    assert chosen["type"] == "datasource"
    assert provisioned[chosen["current"]["value"]] == chosen["query"] == "prometheus"
    references = [value for key, value in below(board) if key == "datasource"]
    assert references
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in references)
    urls = [value for key, value in below(board) if key == "url"]
    linked = set(re.findall(r'"datasource":"([^"]+)', " ".join(urls)))
    assert linked <= provisioned.keys()


def test_exemplars_lead_to_a_source_that_is_provisioned() -> None:
    sources = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "sources.yaml").read_text()
    )
    by_type = {source["type"]: source for source in sources["datasources"]}
    (destination,) = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination == {"name": "trace_id", "datasourceUid": by_type["jaeger"]["uid"]}


@EACH
def test_the_frame_is_the_same_everywhere(board: dict[str, Any]) -> None:
    assert board["uid"].startswith("llm-cache-")
    assert board["tags"] == ["llm-cache"]
    (link,) = board["links"]
    assert (link["type"], link["tags"]) == ("dashboards", board["tags"])
    assert link["keepTime"]
    assert link["includeVars"]


@pytest.mark.parametrize("query", queries(), ids=str)
def test_metrics_and_labels_exist(query: Query) -> None:
    expression = promql_parser.parse(filled_in(query.expression))
    asked = list(labels_asked(expression))
    assert asked
    for metric, labels in asked:
        if not OF_THE_COLLECTOR.fullmatch(metric):
            assert metric in KNOWN
            assert labels <= KNOWN[metric], metric
    in_legend = set(re.findall(r"{{(\w+)}}", query.legend))
    kept = labels_kept(expression)
    if kept is None:
        kept = set.union(*(KNOWN[each.name] for each in selectors(expression)))
    assert in_legend <= kept


@EACH
def test_columns_of_tables_are_labels_and_values_of_their_queries(board: dict[str, Any]) -> None:
    for panel in panels(board):
        if panel["type"] != "table":
            continue
        expressions = [promql_parser.parse(filled_in(each["expr"])) for each in panel["targets"]]
        labels = [labels_kept(expression) for expression in expressions]
        assert all(each == labels[0] for each in labels), panel["title"]
        values = {f"Value #{each['refId']}" for each in panel["targets"]}
        if len(values) == 1:
            values = {"Value"}
        renamed = panel["transformations"][-1]["options"]["renameByName"]
        assert renamed.keys() == (labels[0] or set()) | values
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in renamed.values()
        for named in re.findall(r"__data\.fields\.(\w+)", json.dumps(panel)):
            assert named in renamed.values()

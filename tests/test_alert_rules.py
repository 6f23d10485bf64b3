"""Rules speak of what is emitted, alerts have their pages, and pages their alerts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from llm_cache_otel.emit import names
from llm_cache_otel.facts import reasons

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "collector-config" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = "https://github.com/llm-cache-otel/llm-cache-otel/blob/main/docs/runbooks"

EMITTED = {
    value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)
}

# What the Collector says of itself, and Prometheus of what it scrapes.
OF_OTHERS = {
    *("up", "job", "instance", "le", "ALERTS", "lost", "exporter", "receiver", "error"),
    *("endpoint", "success"),
    *("otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"),
    *("otelcol_deltatocumulative_datapoints_total", "deployment_environment_name"),
}
OF_PROMQL = {
    *(
        "and",
        "or",
        "unless",
        "on",
        "by",
        "without",
        "group_left",
        "offset",
        "sum",
        "min",
        "max",
        "absent",
        "timestamp",
    ),
    *("increase", "rate", "min_over_time", "sum_over_time", "last_over_time", "histogram_quantile"),
    *("label_replace", "topk"),
}


def rules(file: str) -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = {rule["record"]: rule for rule in rules("recording.yaml")}
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}


def metrics() -> set[str]:
    """As Prometheus has them, by the table of `docs/telemetry.md`: name, instrument, unit."""
    text = (ROOT / "docs" / "telemetry.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    found = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 5 or not cells[1].startswith("`"):
            continue
        first, *others = re.findall(r"`([\w.]+)`", cells[1])
        stem = first.rsplit(".", 1)[
            0
        ]  # `.output_tokens` goes on where the first of its row leaves off
        several = {first, *(stem + name if name.startswith(".") else name for name in others)}
        assert several <= EMITTED
        suffixes = _suffixes(cells[2].split(",")[0], cells[3].strip("`"))
        found |= {name.replace(".", "_") + suffix for name in several for suffix in suffixes}
    assert len(found) > 20
    return found


def _suffixes(instrument: str, unit: str) -> list[str]:
    of_unit = "_seconds" if unit == "s" else ""
    if instrument == "counter":
        return [f"{of_unit}_total"]
    if instrument == "histogram":
        return [f"{of_unit}{part}" for part in ("_bucket", "_count", "_sum")]
    assert instrument == "observable gauge", instrument
    return ["_ratio" if unit == "1" else of_unit]


KNOWN = (
    metrics() | {name.replace(".", "_") for name in EMITTED} | set(RECORDED) | OF_OTHERS | OF_PROMQL
)


def queries(rule: dict) -> list[str]:
    """The rule's, and those that its texts ask when it fires, with something for what is filled in."""
    texts = " ".join(rule.get("annotations", {}).values())
    asked = re.findall(r'printf "((?:[^"\\]|\\.)+)" [^|}]*\| query', texts)
    return [rule["expr"], *(query.replace("%q", "'x'") for query in asked)]


EVERY = [
    pytest.param(query, id=f"{name}-{number}")
    for name, rule in {**RECORDED, **ALERTS}.items()
    for number, query in enumerate(queries(rule))
]


@pytest.mark.parametrize("query", EVERY)
def test_rules_ask_for_what_is_emitted(query: str) -> None:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', "''", query)  # without texts
    bare = re.sub(r"\[[^\]]*\]|offset\s+\w+|\b[\d.]+\b", " ", bare)  # durations and numbers
    asked = set(re.findall(r"[a-zA-Z_][\w:]*", bare)) - {"__name__"}
    assert asked <= KNOWN, asked - KNOWN
    assert asked & (metrics() | set(RECORDED) | OF_OTHERS), query


@pytest.mark.parametrize("query", EVERY)
def test_rules_ask_for_values_that_there_are(query: str) -> None:
    closed = {
        "llm_cache_outcome": {each.value for each in reasons.Outcome},
        "llm_cache_reason": {
            each.value
            for of in (reasons.MissReason, reasons.BypassReason, reasons.ErrorReason)
            for each in of
        },
        "llm_cache_prompt_outcome": {each.value for each in reasons.PromptOutcome},
        "llm_cache_prompt_reason": {each.value for each in reasons.PromptReason},
        "llm_cache_layer": {"response", "prompt"},
    }
    for label, value in re.findall(r"(\w+)(?:=~|!~|!=|=)[\"']([^\"']*)[\"']", query):
        if label in closed and value not in {"", "x"}:
            assert set(value.split("|")) <= closed[label], (label, value)


def test_windows_are_all_made_in_one_way() -> None:
    """What a birth is, is decided once."""
    shapes = set()
    for name, rule in RECORDED.items():
        if name.endswith(":increase5m"):
            metric = re.search(r"increase\((\w+)\[5m\]\)", rule["expr"])
            assert metric is not None
            shapes.add(re.sub(r"by \([^)]*\)", "by ()", rule["expr"].replace(metric[1], "METRIC")))
    assert len(shapes) == 1


def test_every_alert_has_what_its_reader_needs() -> None:
    for name, alert in ALERTS.items():
        assert alert["annotations"]["runbook_url"] == f"{PAGES}/{name}.md"
        assert "$value" in alert["annotations"]["description"], name
        assert alert["annotations"]["summary"]
        assert alert["labels"]["severity"]
        assert alert["for"], "a single evaluation says nothing"


def test_texts_read_well_where_a_label_is_absent() -> None:
    """What not every call has stands behind `with`, and takes the words around it along."""
    for name, alert in ALERTS.items():
        for text in alert["annotations"].values():
            for label in ("llm_cache_name", "gen_ai_request_model", "gen_ai_provider_name"):
                assert f"{{{{ $labels.{label} }}}}" not in text, name
                assert f"{{{{ .Labels.{label} }}}}" not in text, name


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(ALERTS)
    for page in RUNBOOKS.glob("*.md"):
        assert page.read_text().startswith(f"# {page.stem}\n")


def test_every_alert_and_window_is_unit_tested() -> None:
    tests = "".join(file.read_text() for file in (PROMETHEUS / "rules").glob("*_test.yaml"))
    for name in ALERTS:
        fires = re.search(rf"alertname: {name}\n\s+exp_alerts:\n", tests)
        quiet = re.search(rf"alertname: {name}, exp_alerts: \[\]", tests)
        assert fires, f"{name} fires in no test"
        assert quiet, f"{name} stays quiet in no test"
    for name in RECORDED:
        used = name in tests or any(
            name in rule["expr"] for rule in (*RECORDED.values(), *ALERTS.values())
        )
        assert used, f"{name} is in no test"


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_pages_speak_of_what_is_emitted(page: Path) -> None:
    text = page.read_text()
    emitted = EMITTED | {name.rpartition(".")[0] + ".*" for name in EMITTED}
    for name in re.findall(r"\b(?:llm_cache|gen_ai|instructor)\.[\w.*]+", text):
        assert name.rstrip(".") in emitted, name
    closed = {
        each.value
        for of in (reasons.Outcome, reasons.MissReason, reasons.BypassReason, reasons.ErrorReason)
        for each in of
    } | {each.value for of in (reasons.PromptOutcome, reasons.PromptReason) for each in of}
    for value in re.findall(r"llm_cache\.(?:prompt\.)?(?:outcome|reason)=(\w+)", text):
        assert value in closed, value
    for name in re.findall(r"`(llm_cache(?:_|:)[\w:]+)", text):
        assert name in metrics() | set(RECORDED) | {each.replace(".", "_") for each in EMITTED}, (
            name
        )
    assert "In Jaeger" in text

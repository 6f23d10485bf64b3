"""How panels look: a way each to show a number, series over time and rows; and what frames every page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from panels.queries import VARIABLES

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "llm-cache"
WHOLE, HALF, THIRD = 24, 12, 8

Named = Mapping[str, str]
"""Expressions by what their series are called; `{{label}}` stands for a label's value."""


def over_time(
    expression: str, legend: str = "", *, exemplars: bool = False
) -> prometheus.Dataquery:
    query = (
        prometheus.Dataquery().datasource(SOURCE).expr(expression).legend_format(legend or "__auto")
    )
    return query.range().exemplar(exemplars)


def now(expression: str) -> prometheus.Dataquery:
    """Asked once, at the end of the dashboard's range."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expression).instant().exemplar(False)


def traces(latest_buckets: str) -> prometheus.Dataquery:
    """Exemplars alone, of the page that has the latest: no value is below zero, so there is no series."""
    return over_time(f"{latest_buckets} < 0", "traces", exemplars=True)


def number(title: str, unit: str, expression: str, why: str, *, span: int = 3) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("-")
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE)
        .span(span)
        .height(4)
        .with_target(now(expression))
    )


def series(
    title: str,
    unit: str,
    queries: Named,
    why: str,
    *,
    span: int = HALF,
    height: int = 8,
    stacked: bool = False,
    exemplars: Iterable[str] = (),
) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(height)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .show_points(common.VisibilityMode.AUTO)
        .tooltip(
            build_common.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(
            build_common.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if stacked:
        panel.stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL))
    if unit == "percentunit":
        panel.min(0).axis_soft_max(1)
    elif unit != "currencyUSD":
        panel.min(0)
    for legend, expression in queries.items():
        panel.with_target(over_time(expression, legend))
    for latest in exemplars:
        panel.with_target(traces(latest))
    return panel


def rows(
    title: str,
    columns: Mapping[str, tuple[str, str]],
    labels: Named,
    why: str,
    *,
    by: str,
    span: int = WHOLE,
    height: int = 8,
    links: Mapping[str, tuple[str, str]] | None = None,
) -> table.Panel:
    """A row for each combination of labels, sorted `by` a column. A column is a unit and an expression."""
    panel = (
        table.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .span(span)
        .height(height)
        .filterable(True)
        .sort_by([build_common.TableSortByFieldState().display_name(by).desc(True)])
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    )
    names = dict(labels)
    for ref, (name, (unit, expression)) in zip("ABCDEFGH", columns.items(), strict=False):
        panel.with_target(now(expression).format(PromQueryFormat.TABLE).ref_id(ref))
        names["Value" if len(columns) == 1 else f"Value #{ref}"] = name
        panel.override_by_name(name, [models.DynamicConfigValue("unit", unit)])
    for name, (text, url) in (links or {}).items():
        link = {"title": text, "url": url, "targetBlank": True}
        panel.override_by_name(name, [models.DynamicConfigValue("links", [link])])
    return panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate(names)},
                "renameByName": names,
            },
        )
    )


def page(uid: str, title: str, why: str, *, span: str = "now-6h") -> dashboard.Dashboard:
    """An empty dashboard with the variables, links and annotations that all have."""
    links = (
        dashboard.DashboardLink("LLM caches").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    )
    page = (
        dashboard.Dashboard(f"LLM caches: {title}")
        .uid(uid)
        .description(why)
        .tags([TAG])
        .editable()
        .time(span, "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(links.placement("").keep_time(True).include_vars(True).as_dropdown(False))
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Prometheus")
            .type("prometheus")
            .current(models.VariableOption(selected=True, text="Prometheus", value="prometheus"))
        )
    )
    for variable, label in VARIABLES.items():
        page.with_variable(_variable(variable, label))
    return page.annotation(_deploys()).annotation(_alerts())


def _variable(variable: str, label: str) -> dashboard.QueryVariable:
    """Values of a label, among what the variables before it leave."""
    before = list(VARIABLES.items())[: list(VARIABLES).index(variable)]
    chosen = ",".join(f'{label}=~"${variable}"' for variable, label in before)
    query = f"label_values(llm_cache_requests_total{{{chosen}}}, {label})"
    return (
        dashboard.QueryVariable(variable)
        .label(variable.capitalize())
        .datasource(SOURCE)
        .query({"query": query, "refId": variable})
        .definition(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # what has no such label is of All, too
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _deploys() -> dashboard.AnnotationQuery:
    """Where a response model's schema is new: a deploy that changed it, and whose first calls miss."""
    new = 'llm_cache_schema_info_ratio{job=~"$service"}'
    return (
        _annotation("New schemas", f"{new} unless {new} offset 5m", "blue")
        .title_format("New schema of {{instructor_response_model}}")
        .text_format("{{job}}: {{llm_cache_schema_digest}}")
    )


def _alerts() -> dashboard.AnnotationQuery:
    firing = 'ALERTS{alertname=~"LLMCache.+", alertstate="firing"}'
    return _annotation("Alerts", firing, "red").title_format("{{alertname}}").text_format("{{job}}")


def _annotation(name: str, expression: str, color: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .placement("")  # above the panels, and not in the menu
        .expr(expression)
        .step("60s")
    )

"""Types of a dashboard: panels with a description, a unit and a link to more information."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["Board", "Link", "Panel", "Row", "Threshold", "board", "runbook", "units"]

#: The data source that the user selects.
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: The label matcher of the environments that the user selects.
NS: Final = 'namespace=~"$namespace"'
RUNBOOKS: Final = "https://github.com/jojees/project-genesis/blob/main/docs/runbooks"
_WIDTH: Final = 24


@dataclass(frozen=True)
class Link:
    """A link to more information."""

    title: str
    url: str


def board(uid: str, title: str) -> Link:
    """A link to another dashboard with the same environment and time range."""
    return Link(title, f"/d/{uid}?var-namespace=$namespace&${{__url_time_range}}")


def runbook(name: str, title: str) -> Link:
    """A link to a runbook."""
    return Link(title, f"{RUNBOOKS}/{name}.md")


#: The colour from a value on. Green: good. Orange: check it. Red: a problem.
Threshold = tuple[float, Literal["green", "orange", "red"]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel. ``queries`` maps legends (or the columns of a table) to PromQL expressions."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    link: Link
    kind: Literal["lines", "number", "table"] = "lines"
    width: int = 8
    height: int = 8
    thresholds: Sequence[Threshold] = ()
    #: The colour below the first threshold.
    base_color: Literal["green", "orange", "red"] = "green"
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    #: The text that is shown if the query returns nothing.
    no_value: str | None = None
    #: The labels that a table does not show as columns.
    hidden_labels: Sequence[str] = ()

    def build(self) -> Any:
        """The builder of the panel, without its position."""
        panel = {"lines": self._lines, "number": self._number, "table": self._table}[self.kind]()
        panel = (
            panel.title(self.title)
            .description(self.description)
            .unit(self.unit)
            .datasource(SOURCE)
            .span(self.width)
            .height(self.height)
            .links([_link(self.link)])
        )
        if self.minimum is not None:
            panel = panel.min(self.minimum)
        if self.maximum is not None:
            panel = panel.max(self.maximum)
        if self.no_value is not None:
            panel = panel.no_value(self.no_value)
        steps = [
            models.Threshold(None, self.base_color),
            *(models.Threshold(value, color) for value, color in self.thresholds),
        ]
        panel = panel.thresholds(
            grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
        )
        for number, (legend, expr) in enumerate(self.queries.items()):
            panel = panel.with_target(self._query(chr(ord("A") + number), legend, expr))
        return panel

    def _query(self, name: str, legend: str, expr: str) -> prometheus.Dataquery:
        query = prometheus.Dataquery().ref_id(name).expr(expr).legend_format(legend)
        if self.kind == "table":
            return query.instant().format(PromQueryFormat.TABLE)
        query = query.range()
        # Exemplars link a slow request to its trace.
        return query.exemplar(True) if "_bucket" in expr else query

    def _lines(self) -> Any:
        panel = (
            timeseries.Panel()
            .fill_opacity(10)
            .legend(
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        )
        if self.stacked:
            panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        return panel

    def _number(self) -> Any:
        return stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))

    def _table(self) -> Any:
        columns = list(self.queries)
        names = {f"Value #{chr(ord('A') + number)}": name for number, name in enumerate(columns)}
        names |= {"Value": columns[0]}
        hidden = dict.fromkeys(("Time", *self.hidden_labels), True)
        return (
            table.Panel()
            .with_transformation(DataTransformerConfig(id_val="merge", options={}))
            .with_transformation(
                DataTransformerConfig(
                    id_val="organize", options={"excludeByName": hidden, "renameByName": names}
                )
            )
        )


@dataclass(frozen=True)
class Row:
    """A row of panels that answer one question."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard. ``environments`` is the query of the environments that the user can select."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    environments: str = "label_values(auditflow_build_info, namespace)"
    time_from: str = "now-6h"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def build(self) -> Any:
        """The dashboard model of the Grafana SDK."""
        dashboard = (
            grafana.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["auditflow"])
            .readonly()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .time(self.time_from, "now")
            .timezone("browser")
            .refresh("1m")
            .link(
                grafana.DashboardLink("AuditFlow")
                .type(DashboardLinkType.DASHBOARDS)
                .tags(["auditflow"])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(
                grafana.DatasourceVariable("datasource").label("Source").type("prometheus")
            )
            .with_variable(_variable("namespace", "Environment", self.environments))
        )
        for name, query in self.variables.items():
            dashboard = dashboard.with_variable(_variable(name, name.capitalize(), query))
        for row in self.rows:
            assert all(panel.width <= _WIDTH for panel in row.panels), f"{row.title}: too wide"
            dashboard = dashboard.with_row(grafana.Row(row.title))
            for panel in row.panels:
                dashboard = dashboard.with_panel(panel.build())
        return dashboard.build()


def _variable(name: str, label: str, query: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _link(link: Link) -> grafana.DashboardLink:
    return grafana.DashboardLink(link.title).type(DashboardLinkType.LINK).url(link.url)

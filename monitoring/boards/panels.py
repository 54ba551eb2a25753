"""What a board is made of: panels that say what they show, in which unit, and where to look next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import common as looks
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
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
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["Board", "Look", "Panel", "Row", "Step", "board", "runbook", "units"]

#: Every query asks the one that the reader chose.
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: The environments that the reader chose.
NS: Final = 'namespace=~"$namespace"'
RUNBOOKS: Final = "https://github.com/jojees/project-genesis/blob/main/docs/runbooks"
_WIDTH: Final = 24


@dataclass(frozen=True)
class Look:
    """Where to look next."""

    title: str
    url: str


def board(uid: str, title: str) -> Look:
    """Another board, of the same environment and time."""
    return Look(title, f"/d/{uid}?var-namespace=$namespace&${{__url_time_range}}")


def runbook(name: str, title: str) -> Look:
    """A page that says what to do."""
    return Look(title, f"{RUNBOOKS}/{name}.md")


#: From a value on, a colour: green is well, orange is to be looked at, red is wrong.
Step = tuple[float, Literal["green", "orange", "red"]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. ``queries`` are PromQL by their legends; of a table, by its columns."""

    title: str
    says: str
    unit: str
    queries: Mapping[str, str]
    look: Look
    kind: Literal["lines", "number", "table"] = "lines"
    width: int = 8
    height: int = 8
    steps: Sequence[Step] = ()
    #: The colour below the first step.
    base: Literal["green", "orange", "red"] = "green"
    stacked: bool = False
    least: float | None = 0
    most: float | None = None
    #: Shown where there is nothing: for what is well when it is absent.
    nothing: str | None = None
    #: Of a table: labels that are no columns.
    hidden: Sequence[str] = ()

    def build(self) -> Any:
        """As Grafana has it, without its place."""
        made = {"lines": self._lines, "number": self._number, "table": self._table}[self.kind]()
        made = (
            made.title(self.title)
            .description(self.says)
            .unit(self.unit)
            .datasource(SOURCE)
            .span(self.width)
            .height(self.height)
            .links([_link(self.look)])
        )
        if self.least is not None:
            made = made.min(self.least)
        if self.most is not None:
            made = made.max(self.most)
        if self.nothing is not None:
            made = made.no_value(self.nothing)
        steps = [
            Threshold(None, self.base),
            *(Threshold(value, name) for value, name in self.steps),
        ]
        made = made.thresholds(
            grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
        )
        for number, (legend, expr) in enumerate(self.queries.items()):
            made = made.with_target(self._query(chr(ord("A") + number), legend, expr))
        return made

    def _query(self, name: str, legend: str, expr: str) -> prometheus.Dataquery:
        query = prometheus.Dataquery().ref_id(name).expr(expr).legend_format(legend)
        if self.kind == "table":
            return query.instant().format(PromQueryFormat.TABLE)
        query = query.range()
        # Dots that lead from a slow request to its trace.
        return query.exemplar(True) if "_bucket" in expr else query

    def _lines(self) -> Any:
        made = (
            timeseries.Panel()
            .fill_opacity(10)
            .legend(
                looks.VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            .tooltip(looks.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        )
        if self.stacked:
            made = made.stacking(looks.StackingConfig().mode(StackingMode.NORMAL))
        return made

    def _number(self) -> Any:
        return stat.Panel().reduce_options(looks.ReduceDataOptions().calcs(["lastNotNull"]))

    def _table(self) -> Any:
        columns = list(self.queries)
        names = {f"Value #{chr(ord('A') + number)}": name for number, name in enumerate(columns)}
        names |= {"Value": columns[0]}
        hidden = dict.fromkeys(("Time", *self.hidden), True)
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
    """Panels that answer one question."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board. ``environments`` is the query that finds what the reader can choose from."""

    uid: str
    title: str
    says: str
    rows: Sequence[Row]
    environments: str = "label_values(auditflow_build_info, namespace)"
    since: str = "now-6h"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def build(self) -> Any:
        """As Grafana has it."""
        made = (
            grafana.Dashboard(self.title)
            .uid(self.uid)
            .description(self.says)
            .tags(["auditflow"])
            .readonly()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .time(self.since, "now")
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
            made = made.with_variable(_variable(name, name.capitalize(), query))
        for row in self.rows:
            assert all(panel.width <= _WIDTH for panel in row.panels), f"{row.title}: too wide"
            made = made.with_row(grafana.Row(row.title))
            for panel in row.panels:
                made = made.with_panel(panel.build())
        return made.build()


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


def _link(look: Look) -> grafana.DashboardLink:
    return grafana.DashboardLink(look.title).type(DashboardLinkType.LINK).url(look.url)

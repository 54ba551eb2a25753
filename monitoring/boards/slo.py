"""Objectives: remaining error budgets, burn rates and firing alerts."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_NAME = "{{namespace}} {{sloth_service}} {{sloth_slo}}"
_REMAINING = f"slo:period_error_budget_remaining:ratio{{{NS}}}"
_BURN = f"slo:current_burn_rate:ratio{{{NS}}}"

BOARD = Board(
    uid="auditflow-slo",
    title="AuditFlow: objectives",
    description="The service level objectives and the remaining error budget of 30 days.",
    environments="label_values(slo:current_burn_rate:ratio, namespace)",
    time_from="now-24h",
    rows=[
        Row("Current alerts", [
            Panel(
                title="Objectives at risk",
                description="Objectives whose error budget burns too fast now. A page needs a person immediately; a ticket can wait until the working day. Empty is good.",
                kind="table", unit=units.NoUnit, width=12,
                queries={"firing": f'max by (namespace, alertname, severity, sloth_service, sloth_slo) (ALERTS{{{NS}, alertstate="firing", sloth_slo=~".+"}})'},
                link=runbook("README", "All runbooks"), no_value="no objective at risk", hidden_labels=["firing"],
            ),
            Panel(
                title="Other alerts",
                description="Other firing alerts with their severity. They are usually causes, not symptoms. Empty is good.",
                kind="table", unit=units.NoUnit, width=12,
                queries={"firing": f'max by (namespace, alertname, severity) (ALERTS{{{NS}, alertstate="firing", sloth_slo=""}})'},
                link=runbook("README", "All runbooks"), no_value="no other alert", hidden_labels=["firing"],
            ),
        ]),
        Row("Error budgets of 30 days", [
            Panel(
                title="Remaining budget",
                description="1 is the complete budget; below 0 the objective is missed. At 0, only changes that fix problems are deployed.",
                kind="number", unit=units.PercentUnit, width=24, base_color="red", minimum=None,
                thresholds=[(0.0, "orange"), (0.25, "green")],
                queries={_NAME: _REMAINING},
                link=board("auditflow-delivery", "Recent deployments"),
            ),
            Panel(
                title="Remaining budget over time",
                description="A step shows an incident. A slope shows a permanent problem.",
                unit=units.PercentUnit, width=12, minimum=None, maximum=1.0,
                queries={_NAME: _REMAINING},
                link=board("auditflow-delivery", "Deployments at that time"),
            ),
            Panel(
                title="Burn rate",
                description="1 uses the budget in exactly 30 days. 14.4 over one hour or 6 over six hours pages.",
                unit=units.Short, width=12,
                thresholds=[(1.0, "orange"), (14.4, "red")],
                queries={_NAME: _BURN},
                link=board("auditflow-services", "Services and routes"),
            ),
        ]),
        Row("Details of the objectives", [
            Panel(
                title="Share of bad events, last hour",
                description="The share of bad events of each objective in the last hour. The objective defines how many are allowed.",
                unit=units.PercentUnit, width=12,
                queries={_NAME: f"slo:sli_error:ratio_rate1h{{{NS}}}"},
                link=board("auditflow-services", "Services and routes"),
            ),
            Panel(
                title="Objectives",
                description="The required share of good events over 30 days.",
                kind="table", unit=units.PercentUnit, width=12,
                queries={"objective": "max by (sloth_service, sloth_slo) (slo:objective:ratio)"},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
        ]),
    ],
)  # fmt: skip

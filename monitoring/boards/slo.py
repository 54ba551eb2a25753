"""Is it well? What is left of each error budget, how fast it burns, and what is burning."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_NAME = "{{namespace}} {{sloth_service}} {{sloth_slo}}"
_LEFT = f"slo:period_error_budget_remaining:ratio{{{NS}}}"
_BURN = f"slo:current_burn_rate:ratio{{{NS}}}"

BOARD = Board(
    uid="auditflow-slo",
    title="AuditFlow: objectives",
    says="What users were promised, and how much of the error budget of 30 days is left.",
    environments="label_values(slo:current_burn_rate:ratio, namespace)",
    since="now-24h",
    rows=[
        Row("Now", [
            Panel(
                title="What is burning",
                says="Objectives whose budget burns too fast at this moment. A page wants somebody now; a ticket can wait for the morning. Empty is well.",
                kind="table", unit=units.NoUnit, width=12,
                queries={"firing": f'max by (namespace, alertname, severity, sloth_service, sloth_slo) (ALERTS{{{NS}, alertstate="firing", sloth_slo=~".+"}})'},
                look=runbook("README", "All runbooks"), nothing="nothing burns", hidden=["firing"],
            ),
            Panel(
                title="Other alerts",
                says="What else is wrong, with its severity. They are causes more often than symptoms. Empty is well.",
                kind="table", unit=units.NoUnit, width=12,
                queries={"firing": f'max by (namespace, alertname, severity) (ALERTS{{{NS}, alertstate="firing", sloth_slo=""}})'},
                look=runbook("README", "All runbooks"), nothing="no other alert", hidden=["firing"],
            ),
        ]),
        Row("Error budgets of 30 days", [
            Panel(
                title="Budget left",
                says="1 is the whole budget, 0 is none; below 0 the objective is missed. At 0, changes that are not repairs wait.",
                kind="number", unit=units.PercentUnit, width=24, base="red", least=None,
                steps=[(0.0, "orange"), (0.25, "green")],
                queries={_NAME: _LEFT},
                look=board("auditflow-delivery", "What was changed lately"),
            ),
            Panel(
                title="Budget left, over time",
                says="A step is an incident, a slope a chronic fault.",
                unit=units.PercentUnit, width=12, least=None, most=1.0,
                queries={_NAME: _LEFT},
                look=board("auditflow-delivery", "What was changed when it fell"),
            ),
            Panel(
                title="Burn rate",
                says="1 uses up the budget in just 30 days. Over an hour 14.4 pages, over six hours 6 does.",
                unit=units.Short, width=12,
                steps=[(1.0, "orange"), (14.4, "red")],
                queries={_NAME: _BURN},
                look=board("auditflow-services", "Which service and route"),
            ),
        ]),
        Row("Behind the objectives", [
            Panel(
                title="Bad share, last hour",
                says="The share of bad events of each objective in the last hour. Its objective says how many are allowed.",
                unit=units.PercentUnit, width=12,
                queries={_NAME: f"slo:sli_error:ratio_rate1h{{{NS}}}"},
                look=board("auditflow-services", "Which service and route"),
            ),
            Panel(
                title="Objectives",
                says="What was promised: the share of good events over 30 days.",
                kind="table", unit=units.PercentUnit, width=12,
                queries={"objective": "max by (sloth_service, sloth_slo) (slo:objective:ratio)"},
                look=board("auditflow-pipeline", "From event to alert"),
            ),
        ]),
    ],
)  # fmt: skip

"""From an event to the alert that somebody sees, and the ledger: nothing gets lost on the way."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_ALERT = "auditflow_event_to_alert_seconds"


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by (namespace, {by}) (rate({metric}{{{NS}{more}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-pipeline",
    title="AuditFlow: from event to alert",
    says="Each step of the way, how long it takes, what waits, and what became of every event.",
    rows=[
        Row("Is it in time?", [
            Panel(
                title="Alerts within five seconds",
                says="The share of new findings that were stored within five seconds of the acceptance of their event. Promised are 99 %.",
                kind="number", unit=units.PercentUnit, width=6, base="red", steps=[(0.95, "orange"), (0.99, "green")], most=1.0,
                queries={"{{namespace}}": f'sum by (namespace) (increase({_ALERT}_bucket{{{NS}, le="5.0"}}[$__range])) / (sum by (namespace) (increase({_ALERT}_count{{{NS}}}[$__range])) > 0)'},
                look=runbook("alerts-late", "When alerts are late"), nothing="no finding",
            ),
            Panel(
                title="From event to alert",
                says="Half of the findings are faster than the lower line, 99 % than the upper. The dots lead to traces.",
                unit=units.Seconds, width=10,
                queries={
                    "99 % {{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate({_ALERT}_bucket{{{NS}}}[$__rate_interval])))",
                    "50 % {{namespace}}": f"histogram_quantile(0.5, sum by (namespace, le) (rate({_ALERT}_bucket{{{NS}}}[$__rate_interval])))",
                },
                look=runbook("alerts-late", "When alerts are late"),
            ),
            Panel(
                title="Oldest event in hand",
                says="How long ago the oldest event was accepted that a consumer has not done yet. Over a minute pages.",
                unit=units.Seconds, width=8, steps=[(10.0, "orange"), (60.0, "red")],
                queries={"{{namespace}} {{queue}}": f"max by (namespace, queue) (auditflow_consumer_oldest_seconds{{{NS}}})"},
                look=runbook("oldest-event-waits", "When events wait"),
            ),
        ]),
        Row("The way", [
            Panel(
                title="1. Accepted",
                says="Events that the broker stored, by source. Silence of all sources is rarely a quiet day.",
                unit=units.EventsPerSecond, stacked=True, width=6,
                queries={"{{source}}": _rate("auditflow_events_accepted_total", "source") + " > 0"},
                look=runbook("no-events-arrive", "When none arrive"),
            ),
            Panel(
                title="2. Waiting",
                says="Messages in the queues, in consumers' hands too.",
                unit=units.Short, width=6,
                queries={"{{namespace}} {{queue}}": f'sum by (namespace, queue) (rabbitmq_detailed_queue_messages{{{NS}, queue!~".+dlq"}})'},
                look=board("auditflow-rabbitmq", "The broker"),
            ),
            Panel(
                title="3. Analysed",
                says="What became of events. `late` came too late for a window, and met the other rules.",
                unit=units.EventsPerSecond, stacked=True, width=6,
                queries={"{{outcome}}": _rate("auditflow_analysis_events_total", "outcome")},
                look=board("auditflow-redis", "The windows"),
            ),
            Panel(
                title="4. Findings stored",
                says="New ones, versions that know more, and repetitions.",
                unit=units.CountsPerSecond, stacked=True, width=6,
                queries={"{{outcome}}": _rate("auditflow_findings_stored_total", "outcome")},
                look=board("auditflow-postgresql", "The database"),
            ),
            Panel(
                title="5. Alerts opened",
                says="What people have to look at, by severity.",
                unit=units.CountsPerSecond, stacked=True, width=8,
                queries={"{{severity}}": _rate("auditflow_alerts_opened_total", "severity")},
                look=board("auditflow-services", "The dashboard that shows them"),
            ),
            Panel(
                title="Time of each step",
                says="99 % of batches: from the acceptance of their first event until the consumer was done with it.",
                unit=units.Seconds, width=8,
                queries={"{{queue}}": f"histogram_quantile(0.99, sum by (namespace, queue, le) (rate(auditflow_consumer_lag_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                look=board("auditflow-services", "The consumers"),
            ),
            Panel(
                title="Consumers",
                says="1 while a consumer is connected. At 0 events wait, and attacks raise no alert.",
                unit=units.Short, width=8,
                queries={"{{namespace}} {{queue}}": f"max by (namespace, queue) (auditflow_consumer_connected{{{NS}}})"},
                look=runbook("consumer-gone", "When a consumer is gone"),
            ),
        ]),
        Row("The ledger: accepted = analysed + late + rejected + dead-lettered", [
            Panel(
                title="Accepted",
                says="Events that were accepted in this time.",
                kind="number", unit=units.Short, width=4,
                queries={"{{namespace}}": f"sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[$__range]))"},
                look=runbook("events-unaccounted", "When events are missing"),
            ),
            Panel(
                title="What became of them",
                says="The other side of the ledger in this time. An event that came twice, after a crash, is counted twice.",
                kind="number", unit=units.Short, width=12,
                queries={"{{outcome}}": f"sum by (namespace, outcome) (increase(auditflow_analysis_events_total{{{NS}}}[$__range]))"},
                look=board("auditflow-slo", "The objective"),
            ),
            Panel(
                title="Neither done nor waiting",
                says="Accepted, less what came out, less what waits more than before. About 0 is well; it moves a little, since three counters are read at three moments. Above 0 for long, events are missing.",
                unit=units.Short, width=8, least=None,
                queries={"{{namespace}}": (
                    f"sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[30m]))"
                    f" - sum by (namespace) (increase(auditflow_analysis_events_total{{{NS}}}[30m]))"
                    f' - sum by (namespace) (delta(rabbitmq_detailed_queue_messages{{{NS}, queue="audit_events"}}[30m]))'
                )},
                look=runbook("events-unaccounted", "When events are missing"),
            ),
            Panel(
                title="Dead letters that wait",
                says="Messages set aside, each with its reason, until a person decides.",
                unit=units.Short, width=8, steps=[(1.0, "orange")],
                queries={"{{namespace}} {{queue}}": f'sum by (namespace, queue) (rabbitmq_detailed_queue_messages{{{NS}, queue=~".+dlq"}})'},
                look=runbook("dead-letters-grow", "What to do with them"),
            ),
            Panel(
                title="Set aside",
                says="`contract` does not fit the schema: its source is at fault. `poison` fits, and processing failed: we are.",
                unit=units.CountsPerSecond, width=8,
                queries={"{{queue}} {{kind}}": _rate("auditflow_dead_letters_total", "queue, kind")},
                look=runbook("findings-set-aside", "When findings are set aside"),
            ),
            Panel(
                title="Counted twice, or perhaps not stored",
                says="What bounds the ledger: messages delivered again after a crash, and events sent without a confirm, which their source sends again.",
                unit=units.CountsPerSecond, width=8,
                queries={
                    "delivered again {{queue}}": _rate("auditflow_consumer_redelivered_messages_total", "queue"),
                    "not confirmed {{namespace}}": f"sum by (namespace) (rate(auditflow_events_unconfirmed_total{{{NS}}}[$__rate_interval]))",
                },
                look=board("auditflow-rabbitmq", "The broker"),
            ),
        ]),
        Row("Rules", [
            Panel(
                title="Rules in force",
                says="How many rules are loaded, faults of foreign ones left out, 1 while newer files are at fault, and rules that are off because they were slow too often.",
                unit=units.Short, width=8,
                queries={
                    "in force": f"max by (namespace) (auditflow_analysis_rules{{{NS}}})",
                    "foreign, refused": f"max by (namespace) (auditflow_analysis_rules_refused{{{NS}}})",
                    "stale": f"max by (namespace) (auditflow_analysis_rules_stale{{{NS}}})",
                    "off": f"max by (namespace) (auditflow_analysis_rules_switched_off{{{NS}}})",
                },
                look=runbook("rules-stale", "When rules are stale"),
            ),
            Panel(
                title="Slow rules",
                says="Events of which a rule cost more than it may, by rule, in this time. A rule that does so too often is switched off.",
                kind="table", unit=units.Short, width=8,
                queries={"events": f"topk(15, sum by (rule) (increase(auditflow_analysis_slow_rules_total{{{NS}}}[$__range])) > 0)"},
                look=board("auditflow-services", "What the analysis uses"), nothing="none",
            ),
            Panel(
                title="Busiest rules",
                says="Rules by events that matched in this time. One that matches nearly everything is written too wide.",
                kind="table", unit=units.Short, width=8,
                queries={"events": f"topk(15, sum by (rule) (increase(auditflow_analysis_rule_matches_total{{{NS}}}[$__range])) > 0)"},
                look=runbook("rules-refused", "About rules"),
            ),
            Panel(
                title="Rules with most findings",
                says="Rules by versions of findings that were published in this time: what fills the list of alerts.",
                kind="table", unit=units.Short, width=8,
                queries={"findings": f"topk(15, sum by (rule, severity) (increase(auditflow_analysis_findings_published_total{{{NS}}}[$__range])) > 0)"},
                look=board("auditflow-slo", "What was promised"),
            ),
        ]),
    ],
)  # fmt: skip

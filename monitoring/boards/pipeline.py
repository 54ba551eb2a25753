"""The pipeline from an event to an alert, and the ledger of all events."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_ALERT = "auditflow_event_to_alert_seconds"


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by (namespace, {by}) (rate({metric}{{{NS}{more}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-pipeline",
    title="AuditFlow: from event to alert",
    description="Each step from an event to an alert: duration, waiting messages and results.",
    rows=[
        Row("Latency", [
            Panel(
                title="Alerts within five seconds",
                description="The share of new findings that were stored within five seconds after their event was accepted. The objective is 99 %.",
                kind="number", unit=units.PercentUnit, width=6, base_color="red", thresholds=[(0.95, "orange"), (0.99, "green")], maximum=1.0,
                queries={"{{namespace}}": f'sum by (namespace) (increase({_ALERT}_bucket{{{NS}, le="5.0"}}[$__range])) / (sum by (namespace) (increase({_ALERT}_count{{{NS}}}[$__range])) > 0)'},
                link=runbook("alerts-late", "If alerts are late"), no_value="no findings",
            ),
            Panel(
                title="From event to alert",
                description="The 50th and the 99th percentile of the time from event to stored finding. The dots link to traces.",
                unit=units.Seconds, width=10,
                queries={
                    "99 % {{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate({_ALERT}_bucket{{{NS}}}[$__rate_interval])))",
                    "50 % {{namespace}}": f"histogram_quantile(0.5, sum by (namespace, le) (rate({_ALERT}_bucket{{{NS}}}[$__rate_interval])))",
                },
                link=runbook("alerts-late", "If alerts are late"),
            ),
            Panel(
                title="Age of the oldest unprocessed event",
                description="The time since the oldest event in processing was accepted. More than a minute pages.",
                unit=units.Seconds, width=8, thresholds=[(10.0, "orange"), (60.0, "red")],
                queries={"{{namespace}} {{queue}}": f"max by (namespace, queue) (auditflow_consumer_oldest_seconds{{{NS}}})"},
                link=runbook("oldest-event-waits", "If events wait"),
            ),
        ]),
        Row("Steps", [
            Panel(
                title="1. Accepted",
                description="Events that the broker stored, by source. If no source sends events, this is usually a fault.",
                unit=units.EventsPerSecond, stacked=True, width=6,
                queries={"{{source}}": _rate("auditflow_events_accepted_total", "source") + " > 0"},
                link=runbook("no-events-arrive", "If no events arrive"),
            ),
            Panel(
                title="2. Waiting",
                description="Messages in the queues, including unacknowledged messages.",
                unit=units.Short, width=6,
                queries={"{{namespace}} {{queue}}": f'sum by (namespace, queue) (rabbitmq_detailed_queue_messages{{{NS}, queue!~".+dlq"}})'},
                link=board("auditflow-rabbitmq", "Broker"),
            ),
            Panel(
                title="3. Analysed",
                description="Results of events. `late` events arrived too late for windows; single-event rules still matched them.",
                unit=units.EventsPerSecond, stacked=True, width=6,
                queries={"{{outcome}}": _rate("auditflow_analysis_events_total", "outcome")},
                link=board("auditflow-redis", "Windows"),
            ),
            Panel(
                title="4. Findings stored",
                description="New findings, updates of findings, and repeated findings.",
                unit=units.CountsPerSecond, stacked=True, width=6,
                queries={"{{outcome}}": _rate("auditflow_findings_stored_total", "outcome")},
                link=board("auditflow-postgresql", "Database"),
            ),
            Panel(
                title="5. Alerts opened",
                description="Alerts that people must triage, by severity.",
                unit=units.CountsPerSecond, stacked=True, width=8,
                queries={"{{severity}}": _rate("auditflow_alerts_opened_total", "severity")},
                link=board("auditflow-services", "Dashboard service"),
            ),
            Panel(
                title="Duration of each step",
                description="The 99th percentile of the time from the acceptance of a batch's first event to the end of its processing.",
                unit=units.Seconds, width=8,
                queries={"{{queue}}": f"histogram_quantile(0.99, sum by (namespace, queue, le) (rate(auditflow_consumer_lag_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                link=board("auditflow-services", "Consumers"),
            ),
            Panel(
                title="Consumers",
                description="1 while a consumer is connected. At 0 events wait, and attacks raise no alert.",
                unit=units.Short, width=8,
                queries={"{{namespace}} {{queue}}": f"max by (namespace, queue) (auditflow_consumer_connected{{{NS}}})"},
                link=runbook("consumer-gone", "If there is no consumer"),
            ),
        ]),
        Row("Ledger: accepted = analysed + late + rejected + dead-lettered", [
            Panel(
                title="Accepted",
                description="Events that were accepted in the time range.",
                kind="number", unit=units.Short, width=4,
                queries={"{{namespace}}": f"sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[$__range]))"},
                link=runbook("events-unaccounted", "If events are missing"),
            ),
            Panel(
                title="Results",
                description="The results of events in the time range. An event that is redelivered after a crash is counted twice.",
                kind="number", unit=units.Short, width=12,
                queries={"{{outcome}}": f"sum by (namespace, outcome) (increase(auditflow_analysis_events_total{{{NS}}}[$__range]))"},
                link=board("auditflow-slo", "Objectives"),
            ),
            Panel(
                title="Unaccounted events",
                description="Accepted events minus results minus the growth of the queue. About 0 is good; small variations occur because the counters are scraped at different times. A value above 0 for a long time means that events are missing.",
                unit=units.Short, width=8, minimum=None,
                queries={"{{namespace}}": (
                    f"sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[30m]))"
                    f" - sum by (namespace) (increase(auditflow_analysis_events_total{{{NS}}}[30m]))"
                    f' - sum by (namespace) (delta(rabbitmq_detailed_queue_messages{{{NS}, queue="audit_events"}}[30m]))'
                )},
                link=runbook("events-unaccounted", "If events are missing"),
            ),
            Panel(
                title="Dead letters",
                description="Messages in the dead-letter queues, each with its reason. A person must handle them.",
                unit=units.Short, width=8, thresholds=[(1.0, "orange")],
                queries={"{{namespace}} {{queue}}": f'sum by (namespace, queue) (rabbitmq_detailed_queue_messages{{{NS}, queue=~".+dlq"}})'},
                link=runbook("dead-letters-grow", "How to handle dead letters"),
            ),
            Panel(
                title="Dead-lettered messages",
                description="`contract`: the message violates the schema; fix the source. `poison`: processing failed; fix the service.",
                unit=units.CountsPerSecond, width=8,
                queries={"{{queue}} {{kind}}": _rate("auditflow_dead_letters_total", "queue, kind")},
                link=runbook("findings-set-aside", "If findings are dead-lettered"),
            ),
            Panel(
                title="Redelivered or unconfirmed",
                description="Limits of the ledger's precision: messages that were redelivered, and events without a publisher confirm, which the source sends again.",
                unit=units.CountsPerSecond, width=8,
                queries={
                    "redelivered {{queue}}": _rate("auditflow_consumer_redelivered_messages_total", "queue"),
                    "unconfirmed {{namespace}}": f"sum by (namespace) (rate(auditflow_events_unconfirmed_total{{{NS}}}[$__rate_interval]))",
                },
                link=board("auditflow-rabbitmq", "Broker"),
            ),
        ]),
        Row("Rules", [
            Panel(
                title="Loaded rules",
                description="The number of loaded rules, refused external rules, 1 while changed rule files cannot be loaded, and rules that are switched off because they were too slow.",
                unit=units.Short, width=8,
                queries={
                    "loaded": f"max by (namespace) (auditflow_analysis_rules{{{NS}}})",
                    "external, refused": f"max by (namespace) (auditflow_analysis_rules_refused{{{NS}}})",
                    "stale": f"max by (namespace) (auditflow_analysis_rules_stale{{{NS}}})",
                    "switched off": f"max by (namespace) (auditflow_analysis_rules_switched_off{{{NS}}})",
                },
                link=runbook("rules-stale", "If rules are stale"),
            ),
            Panel(
                title="Slow rules",
                description="The number of events for which a rule exceeded its time limit, in the time range. A rule that is often too slow is switched off.",
                kind="table", unit=units.Short, width=8,
                queries={"events": f"topk(15, sum by (rule) (increase(auditflow_analysis_slow_rules_total{{{NS}}}[$__range])) > 0)"},
                link=board("auditflow-services", "Analysis service"), no_value="none",
            ),
            Panel(
                title="Rules with most matches",
                description="The number of matching events by rule in the time range. A rule that matches nearly every event is not specific enough.",
                kind="table", unit=units.Short, width=8,
                queries={"events": f"topk(15, sum by (rule) (increase(auditflow_analysis_rule_matches_total{{{NS}}}[$__range])) > 0)"},
                link=runbook("rules-refused", "Refused rules"),
            ),
            Panel(
                title="Rules with most findings",
                description="The number of published findings (including updates) by rule in the time range.",
                kind="table", unit=units.Short, width=8,
                queries={"findings": f"topk(15, sum by (rule, severity) (increase(auditflow_analysis_findings_published_total{{{NS}}}[$__range])) > 0)"},
                link=board("auditflow-slo", "Objectives"),
            ),
        ]),
    ],
)  # fmt: skip

"""Each service: how much is asked of it, how much fails, how long it takes, what it lives on."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_JOBS = "audit-event-generator|audit-log-analysis|notification-service|event-audit-dashboard"
_HTTP = "auditflow_http_request_duration_seconds"
_OURS = f'{NS}, job=~"$service"'
_BY = "{{namespace}} {{job}}"


def _quantile(share: float, by: str) -> str:
    rate = f"rate({_HTTP}_bucket{{{_OURS}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (namespace, {by}, le) ({rate}))"


BOARD = Board(
    uid="auditflow-services",
    title="AuditFlow: services",
    says="Rate, errors and duration of each of the four services, and what they need.",
    variables={"service": f'label_values(auditflow_build_info{{job=~"{_JOBS}"}}, job)'},
    rows=[
        Row("Up", [
            Panel(
                title="Instances that answer",
                says="How many pods of each service Prometheus reaches. None is an outage.",
                kind="number", unit=units.Short, width=8, base="red", steps=[(1.0, "green")],
                queries={_BY: f"sum by (namespace, job) (up{{{_OURS}}})"},
                look=runbook("service-down", "When a service is down"),
            ),
            Panel(
                title="Dependencies",
                says="1 while the service says that it reaches what it needs; the least over its pods. `consumer` is 0 while a batch is held.",
                unit=units.Short, width=8, most=1.0,
                queries={"{{job}} → {{dependency}}": f"min by (job, dependency) (auditflow_dependency_up{{{_OURS}}})"},
                look=runbook("dependency-down", "When a dependency is down"),
            ),
            Panel(
                title="What runs",
                says="The release and the commit of each service. Two commits at once are a roll-out in the middle.",
                kind="table", unit=units.Short, width=8,
                queries={"pods": f"count by (namespace, service, version, revision) (auditflow_build_info{{{_OURS}}})"},
                look=board("auditflow-delivery", "How it came there"),
            ),
        ]),
        Row("Requests", [
            Panel(
                title="Rate",
                says="Requests a second, probes not counted.",
                unit=units.RequestsPerSecond,
                queries={_BY: f"sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval]))"},
                look=board("auditflow-pipeline", "What becomes of events"),
            ),
            Panel(
                title="Errors",
                says="The share of answers that are 5xx. The API may have one in a thousand, the dashboard five.",
                unit=units.PercentUnit, steps=[(0.001, "orange"), (0.01, "red")],
                queries={_BY: (
                    f'(sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}, code="5xx"}}[$__rate_interval]))'
                    f" or 0 * sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval])))"
                    f" / (sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval])) > 0)"
                )},
                look=runbook("api-errors", "When the API fails"),
            ),
            Panel(
                title="Duration",
                says="What the slowest hundredth of requests takes at least, and what half of them take. The dots lead to traces.",
                unit=units.Seconds,
                queries={"99 % {{job}}": _quantile(0.99, "job"), "50 % {{job}}": _quantile(0.5, "job")},
                look=runbook("api-slow", "When the API is slow"),
            ),
            Panel(
                title="Rate by route",
                says="Which address is asked for, and how it answers.",
                unit=units.RequestsPerSecond, width=12,
                queries={"{{job}} {{route}} {{code}}": f"sum by (job, route, code) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval]))"},
                look=board("auditflow-slo", "What was promised"),
            ),
            Panel(
                title="Duration by route, 99 %",
                says="Which address is slow.",
                unit=units.Seconds, width=12,
                queries={"{{job}} {{route}}": _quantile(0.99, "job, route")},
                look=board("auditflow-postgresql", "The database behind it"),
            ),
        ]),
        Row("Messages and pages", [
            Panel(
                title="Messages done",
                says="Messages that each consumer processed and acknowledged.",
                unit=units.MessagesPerSecond,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rate(auditflow_consumed_messages_total{{{NS}}}[$__rate_interval]))"},
                look=board("auditflow-rabbitmq", "What waits in the queues"),
            ),
            Panel(
                title="Time for a batch, 99 %",
                says="How long a consumer works on a batch, without waiting for what is away.",
                unit=units.Seconds,
                queries={"{{namespace}} {{queue}}": f"histogram_quantile(0.99, sum by (namespace, queue, le) (rate(auditflow_consumer_batch_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                look=board("auditflow-redis", "The windows behind it"),
            ),
            Panel(
                title="Pages without their alerts",
                says="Questions of the dashboard that the API did not answer, by reason.",
                unit=units.RequestsPerSecond,
                queries={"{{namespace}} {{reason}}": f"sum by (namespace, reason) (rate(auditflow_dashboard_upstream_errors_total{{{NS}}}[$__rate_interval]))"},
                look=runbook("dashboard-errors", "When the dashboard fails"),
            ),
            Panel(
                title="Sign-ins",
                says="Sign-in attempts. Many refused or throttled attempts indicate password guessing.",
                unit=units.OpsPerSecond, width=12,
                queries={"{{namespace}} {{result}}": f"sum by (namespace, result) (rate(auditflow_dashboard_sign_ins_total{{{NS}}}[$__rate_interval]))"},
                look=board("auditflow-pipeline", "Alerts about it"),
            ),
            Panel(
                title="Ingest, by source and answer",
                says="Requests of sources. 4xx are faults of theirs, 503 says: send again, the broker is away.",
                unit=units.RequestsPerSecond, width=12,
                queries={"{{source}} {{code}}": f"sum by (source, code) (rate(auditflow_ingest_request_seconds_count{{{NS}}}[$__rate_interval]))"},
                look=runbook("ingest-errors", "When sources cannot deliver"),
            ),
        ]),
        Row("Processes", [
            Panel(
                title="Memory",
                says="What each process has resident. At rest each should have less than 128 MiB.",
                unit=units.BytesIEC, steps=[(134217728.0, "orange")],
                queries={_BY: f"sum by (namespace, job) (process_resident_memory_bytes{{{_OURS}}})"},
                look=board("auditflow-cost", "What it asks for"),
            ),
            Panel(
                title="CPU",
                says="Cores in use.",
                unit=units.Short,
                queries={_BY: f"sum by (namespace, job) (rate(process_cpu_seconds_total{{{_OURS}}}[$__rate_interval]))"},
                look=board("auditflow-cost", "What it asks for"),
            ),
            Panel(
                title="Open files",
                says="As a share of what is allowed. At 1 a service takes no connection more.",
                unit=units.PercentUnit, most=1.0, steps=[(0.8, "red")],
                queries={_BY: f"max by (namespace, job) (process_open_fds{{{_OURS}}} / process_max_fds{{{_OURS}}})"},
                look=runbook("service-down", "When a service is down"),
            ),
        ]),
    ],
)  # fmt: skip

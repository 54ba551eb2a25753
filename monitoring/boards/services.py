"""Rate, errors, duration and resource use of each service."""

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
    description="Rate, errors and duration of each of the four services, and their dependencies.",
    variables={"service": f'label_values(auditflow_build_info{{job=~"{_JOBS}"}}, job)'},
    rows=[
        Row("Up", [
            Panel(
                title="Instances that answer",
                description="The number of pods of each service that Prometheus can scrape. Zero is an outage.",
                kind="number", unit=units.Short, width=8, base_color="red", thresholds=[(1.0, "green")],
                queries={_BY: f"sum by (namespace, job) (up{{{_OURS}}})"},
                link=runbook("service-down", "If a service is down"),
            ),
            Panel(
                title="Dependencies",
                description="1 while the service reaches the dependency; the minimum over its pods. `consumer` is 0 while a batch is held back.",
                unit=units.Short, width=8, maximum=1.0,
                queries={"{{job}} → {{dependency}}": f"min by (job, dependency) (auditflow_dependency_up{{{_OURS}}})"},
                link=runbook("dependency-down", "If a dependency is down"),
            ),
            Panel(
                title="Circuit breakers",
                description="1 while a service does not call the dependency, because several calls failed in a row; the maximum over its pods. Refused are the calls per second that were not made, also because too many were in progress.",
                unit=units.Short, width=8,
                queries={
                    "{{job}} → {{dependency}}": f"max by (job, dependency) (auditflow_circuit_open{{{_OURS}}})",
                    "{{job}} → postgresql ({{pool}})": f"max by (job, pool) (auditflow_database_circuit_open{{{_OURS}}})",
                    "{{job}} → {{dependency}}: refused": f"sum by (job, dependency) (rate(auditflow_circuit_refused_total{{{_OURS}}}[5m]))",
                },
                link=runbook("circuit-open", "If a circuit breaker is open"),
            ),
            Panel(
                title="Versions",
                description="The release and the commit of each service. Two commits at the same time mean that a rollout is in progress.",
                kind="table", unit=units.Short, width=8,
                queries={"pods": f"count by (namespace, service, version, revision) (auditflow_build_info{{{_OURS}}})"},
                link=board("auditflow-delivery", "Deployments"),
            ),
        ]),
        Row("Requests", [
            Panel(
                title="Rate",
                description="Requests per second, without health probes.",
                unit=units.RequestsPerSecond,
                queries={_BY: f"sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval]))"},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Errors",
                description="The share of responses with a 5xx code. The objective allows 0.1 % for the API and 0.5 % for the dashboard.",
                unit=units.PercentUnit, thresholds=[(0.001, "orange"), (0.01, "red")],
                queries={_BY: (
                    f'(sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}, code="5xx"}}[$__rate_interval]))'
                    f" or 0 * sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval])))"
                    f" / (sum by (namespace, job) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval])) > 0)"
                )},
                link=runbook("api-errors", "If the API fails"),
            ),
            Panel(
                title="Duration",
                description="The 99th and the 50th percentile of the request duration. The dots link to traces.",
                unit=units.Seconds,
                queries={"99 % {{job}}": _quantile(0.99, "job"), "50 % {{job}}": _quantile(0.5, "job")},
                link=runbook("api-slow", "If the API is slow"),
            ),
            Panel(
                title="Rate by route",
                description="Requests per second by route and response code.",
                unit=units.RequestsPerSecond, width=12,
                queries={"{{job}} {{route}} {{code}}": f"sum by (job, route, code) (rate({_HTTP}_count{{{_OURS}}}[$__rate_interval]))"},
                link=board("auditflow-slo", "Objectives"),
            ),
            Panel(
                title="Duration by route, 99 %",
                description="The 99th percentile of the request duration by route.",
                unit=units.Seconds, width=12,
                queries={"{{job}} {{route}}": _quantile(0.99, "job, route")},
                link=board("auditflow-postgresql", "Database"),
            ),
        ]),
        Row("Messages and pages", [
            Panel(
                title="Processed messages",
                description="Messages that each consumer processed and acknowledged.",
                unit=units.MessagesPerSecond,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rate(auditflow_consumed_messages_total{{{NS}}}[$__rate_interval]))"},
                link=board("auditflow-rabbitmq", "Queues"),
            ),
            Panel(
                title="Batch duration, 99 %",
                description="The processing time of a batch, without the time in which a dependency was down.",
                unit=units.Seconds,
                queries={"{{namespace}} {{queue}}": f"histogram_quantile(0.99, sum by (namespace, queue, le) (rate(auditflow_consumer_batch_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                link=board("auditflow-redis", "Windows"),
            ),
            Panel(
                title="Failed requests to the API",
                description="Requests of the dashboard that the API did not answer, by reason.",
                unit=units.RequestsPerSecond,
                queries={"{{namespace}} {{reason}}": f"sum by (namespace, reason) (rate(auditflow_dashboard_upstream_errors_total{{{NS}}}[$__rate_interval]))"},
                link=runbook("dashboard-errors", "If the dashboard fails"),
            ),
            Panel(
                title="Sign-ins",
                description="Sign-in attempts. Many refused or throttled attempts indicate password guessing.",
                unit=units.OpsPerSecond, width=12,
                queries={"{{namespace}} {{result}}": f"sum by (namespace, result) (rate(auditflow_dashboard_sign_ins_total{{{NS}}}[$__rate_interval]))"},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Ingest by source and response code",
                description="Requests of sources. 4xx is an error of the source. 503 asks the source to retry because the broker is down.",
                unit=units.RequestsPerSecond, width=12,
                queries={"{{source}} {{code}}": f"sum by (source, code) (rate(auditflow_ingest_request_seconds_count{{{NS}}}[$__rate_interval]))"},
                link=runbook("ingest-errors", "If sources cannot deliver"),
            ),
        ]),
        Row("Processes", [
            Panel(
                title="Memory",
                description="Resident memory of each process. At rest it should be below 128 MiB.",
                unit=units.BytesIEC, thresholds=[(134217728.0, "orange")],
                queries={_BY: f"sum by (namespace, job) (process_resident_memory_bytes{{{_OURS}}})"},
                link=board("auditflow-cost", "Requested resources"),
            ),
            Panel(
                title="CPU",
                description="CPU cores in use.",
                unit=units.Short,
                queries={_BY: f"sum by (namespace, job) (rate(process_cpu_seconds_total{{{_OURS}}}[$__rate_interval]))"},
                link=board("auditflow-cost", "Requested resources"),
            ),
            Panel(
                title="Open files",
                description="Open files as a share of the limit. At 1 a service accepts no new connection.",
                unit=units.PercentUnit, maximum=1.0, thresholds=[(0.8, "red")],
                queries={_BY: f"max by (namespace, job) (process_open_fds{{{_OURS}}} / process_max_fds{{{_OURS}}})"},
                link=runbook("service-down", "If a service is down"),
            ),
        ]),
    ],
)  # fmt: skip

"""Redis: the windows of the analysis."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

BOARD = Board(
    uid="auditflow-redis",
    title="AuditFlow: Redis",
    says="The windows in which the analysis counts, by redis_exporter and by the analysis itself.",
    environments="label_values(redis_up, namespace)",
    rows=[
        Row("Is it there?", [
            Panel(
                title="Up",
                says="Whether the exporter reaches Redis.",
                kind="number", unit=units.Short, width=4, base="red", steps=[(1.0, "green")],
                queries={"{{namespace}}": f"min by (namespace) (redis_up{{{NS}}})"},
                look=runbook("redis-down", "When it is down"),
            ),
            Panel(
                title="Memory",
                says="As a share of what it may take. When it is full it refuses, and the analysis waits: it never drops a window.",
                unit=units.PercentUnit, width=10, most=1.0, steps=[(0.7, "orange"), (0.85, "red")],
                queries={"{{namespace}}": f"max by (namespace) (redis_memory_used_bytes{{{NS}}}) / (max by (namespace) (redis_memory_max_bytes{{{NS}}}) > 0)"},
                look=runbook("redis-memory-short", "When memory is short"),
            ),
            Panel(
                title="Last write to the file",
                says="1 while what it answers is on the disk. At 0 a crash could forget windows.",
                unit=units.Short, width=10, most=1.0,
                queries={"{{namespace}}": f"min by (namespace) (redis_aof_last_write_status{{{NS}}})"},
                look=runbook("volume-fills", "When a volume fills"),
            ),
        ]),
        Row("Windows", [
            Panel(
                title="Keys",
                says="Two to five for each window. They go by themselves when nothing touches a window.",
                unit=units.Short,
                queries={"{{namespace}}": f"max by (namespace) (auditflow_analysis_window_keys{{{NS}}})"},
                look=runbook("redis-memory-short", "When memory is short"),
            ),
            Panel(
                title="Events into windows",
                says="By the kind of the window.",
                unit=units.EventsPerSecond, stacked=True,
                queries={"{{kind}}": f"sum by (kind) (rate(auditflow_analysis_window_operations_total{{{NS}}}[$__rate_interval]))"},
                look=board("auditflow-pipeline", "The rules behind them"),
            ),
            Panel(
                title="Time for the windows of a batch",
                says="What the analysis waits for Redis.",
                unit=units.Seconds,
                queries={
                    "99 % {{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate(auditflow_analysis_window_seconds_bucket{{{NS}}}[$__rate_interval])))",
                    "50 % {{namespace}}": f"histogram_quantile(0.5, sum by (namespace, le) (rate(auditflow_analysis_window_seconds_bucket{{{NS}}}[$__rate_interval])))",
                },
                look=board("auditflow-services", "The analysis"),
            ),
            Panel(
                title="Approximate",
                says="Findings whose window had more events of one entity than it may keep; they say so themselves.",
                unit=units.CountsPerSecond,
                queries={"{{namespace}}": f"sum by (namespace) (rate(auditflow_analysis_approximate_sightings_total{{{NS}}}[$__rate_interval]))"},
                look=board("auditflow-pipeline", "Which rules"),
            ),
            Panel(
                title="Keys forgotten",
                says="Expired: windows that nobody touched. Evicted must stay 0: that would be lost alerts.",
                unit=units.CountsPerSecond,
                queries={
                    "expired {{namespace}}": f"sum by (namespace) (rate(redis_expired_keys_total{{{NS}}}[$__rate_interval]))",
                    "evicted {{namespace}}": f"sum by (namespace) (rate(redis_evicted_keys_total{{{NS}}}[$__rate_interval]))",
                },
                look=runbook("redis-memory-short", "When memory is short"),
            ),
            Panel(
                title="Clients",
                says="Connections to Redis, and those it refused.",
                unit=units.Short,
                queries={
                    "connected {{namespace}}": f"sum by (namespace) (redis_connected_clients{{{NS}}})",
                    "refused in 5 min {{namespace}}": f"sum by (namespace) (increase(redis_rejected_connections_total{{{NS}}}[5m]))",
                },
                look=runbook("redis-down", "When it is down"),
            ),
        ]),
        Row("Commands", [
            Panel(
                title="Rate",
                says="What is asked of Redis, the ten busiest commands.",
                unit=units.OpsPerSecond, width=12,
                queries={"{{cmd}}": f"topk(10, sum by (cmd) (rate(redis_commands_total{{{NS}}}[$__rate_interval])))"},
                look=board("auditflow-pipeline", "What causes them"),
            ),
            Panel(
                title="Time of a command",
                says="The mean, of the ten slowest. `evalsha` is a window.",
                unit=units.Seconds, width=12,
                queries={"{{cmd}}": (
                    f"topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{{{NS}}}[$__rate_interval]))"
                    f" / (sum by (cmd) (rate(redis_commands_total{{{NS}}}[$__rate_interval])) > 0))"
                )},
                look=board("auditflow-cost", "What it may use"),
            ),
        ]),
    ],
)  # fmt: skip

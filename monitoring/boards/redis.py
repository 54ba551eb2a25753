"""Redis: the windows of the analysis."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

BOARD = Board(
    uid="auditflow-redis",
    title="AuditFlow: Redis",
    description="The windows of the analysis. The metrics come from redis_exporter and from the analysis.",
    environments="label_values(redis_up, namespace)",
    rows=[
        Row("Availability", [
            Panel(
                title="Up",
                description="1 while the exporter reaches Redis.",
                kind="number", unit=units.Short, width=4, base_color="red", thresholds=[(1.0, "green")],
                queries={"{{namespace}}": f"min by (namespace) (redis_up{{{NS}}})"},
                link=runbook("redis-down", "If Redis is down"),
            ),
            Panel(
                title="Memory",
                description="Memory as a share of maxmemory. When the memory is full, Redis refuses writes and the analysis waits.",
                unit=units.PercentUnit, width=10, maximum=1.0, thresholds=[(0.7, "orange"), (0.85, "red")],
                queries={"{{namespace}}": f"max by (namespace) (redis_memory_used_bytes{{{NS}}}) / (max by (namespace) (redis_memory_max_bytes{{{NS}}}) > 0)"},
                link=runbook("redis-memory-short", "If memory is low"),
            ),
            Panel(
                title="Status of the last write to disk",
                description="1 while writes to the append-only file succeed. At 0 a crash can lose windows.",
                unit=units.Short, width=10, maximum=1.0,
                queries={"{{namespace}}": f"min by (namespace) (redis_aof_last_write_status{{{NS}}})"},
                link=runbook("volume-fills", "If a volume is nearly full"),
            ),
        ]),
        Row("Windows", [
            Panel(
                title="Keys",
                description="The number of keys. Each window has two to five keys, which expire when the window is not used.",
                unit=units.Short,
                queries={"{{namespace}}": f"max by (namespace) (auditflow_analysis_window_keys{{{NS}}})"},
                link=runbook("redis-memory-short", "If memory is low"),
            ),
            Panel(
                title="Events added to windows",
                description="Events per second by kind of window.",
                unit=units.EventsPerSecond, stacked=True,
                queries={"{{kind}}": f"sum by (kind) (rate(auditflow_analysis_window_operations_total{{{NS}}}[$__rate_interval]))"},
                link=board("auditflow-pipeline", "Rules"),
            ),
            Panel(
                title="Window time per batch",
                description="The time for which the analysis waits for Redis, per batch.",
                unit=units.Seconds,
                queries={
                    "99 % {{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate(auditflow_analysis_window_seconds_bucket{{{NS}}}[$__rate_interval])))",
                    "50 % {{namespace}}": f"histogram_quantile(0.5, sum by (namespace, le) (rate(auditflow_analysis_window_seconds_bucket{{{NS}}}[$__rate_interval])))",
                },
                link=board("auditflow-services", "Analysis service"),
            ),
            Panel(
                title="Approximate findings",
                description="Findings of windows that exceeded a limit. Such a finding is marked as approximate.",
                unit=units.CountsPerSecond,
                queries={"{{namespace}}": f"sum by (namespace) (rate(auditflow_analysis_approximate_sightings_total{{{NS}}}[$__rate_interval]))"},
                link=board("auditflow-pipeline", "Rules"),
            ),
            Panel(
                title="Expired and evicted keys",
                description="Expired keys belong to unused windows. Evicted keys must stay at 0, because an eviction can lose an alert.",
                unit=units.CountsPerSecond,
                queries={
                    "expired {{namespace}}": f"sum by (namespace) (rate(redis_expired_keys_total{{{NS}}}[$__rate_interval]))",
                    "evicted {{namespace}}": f"sum by (namespace) (rate(redis_evicted_keys_total{{{NS}}}[$__rate_interval]))",
                },
                link=runbook("redis-memory-short", "If memory is low"),
            ),
            Panel(
                title="Clients",
                description="Open and refused connections.",
                unit=units.Short,
                queries={
                    "connected {{namespace}}": f"sum by (namespace) (redis_connected_clients{{{NS}}})",
                    "refused in 5 min {{namespace}}": f"sum by (namespace) (increase(redis_rejected_connections_total{{{NS}}}[5m]))",
                },
                link=runbook("redis-down", "If Redis is down"),
            ),
        ]),
        Row("Commands", [
            Panel(
                title="Rate",
                description="The ten most frequent commands.",
                unit=units.OpsPerSecond, width=12,
                queries={"{{cmd}}": f"topk(10, sum by (cmd) (rate(redis_commands_total{{{NS}}}[$__rate_interval])))"},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Duration of a command",
                description="The mean duration of the ten slowest commands. `evalsha` is the script of a window.",
                unit=units.Seconds, width=12,
                queries={"{{cmd}}": (
                    f"topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{{{NS}}}[$__rate_interval]))"
                    f" / (sum by (cmd) (rate(redis_commands_total{{{NS}}}[$__rate_interval])) > 0))"
                )},
                link=board("auditflow-cost", "Resources"),
            ),
        ]),
    ],
)  # fmt: skip

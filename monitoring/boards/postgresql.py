"""PostgreSQL: the database of findings and alerts."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_DB = f'{NS}, datname!~"template.*|postgres|"'


def _rate(metric: str) -> str:
    return f"sum by (namespace) (rate(pg_stat_database_{metric}{{{_DB}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-postgresql",
    title="AuditFlow: PostgreSQL",
    description="The database of findings and alerts. The metrics come from postgres_exporter.",
    environments="label_values(pg_up, namespace)",
    rows=[
        Row("Availability", [
            Panel(
                title="Up",
                description="1 while the exporter reaches the database.",
                kind="number", unit=units.Short, width=4, base_color="red", thresholds=[(1.0, "green")],
                queries={"{{namespace}}": f"min by (namespace) (pg_up{{{NS}}})"},
                link=runbook("postgresql-down", "If PostgreSQL is down"),
            ),
            Panel(
                title="Connections",
                description="Connections as a share of max_connections. At 1 new connections are refused, also for operators.",
                unit=units.PercentUnit, width=10, maximum=1.0, thresholds=[(0.8, "red")],
                queries={"{{namespace}}": f"sum by (namespace) (pg_stat_activity_count{{{NS}}}) / max by (namespace) (pg_settings_max_connections{{{NS}}})"},
                link=runbook("postgresql-connections-short", "If connections run out"),
            ),
            Panel(
                title="Connections by state",
                description="A long `idle in transaction` state can hold locks that other sessions wait for.",
                unit=units.Short, width=10, stacked=True,
                queries={"{{state}}": f"sum by (state) (pg_stat_activity_count{{{_DB}}})"},
                link=board("auditflow-services", "Services"),
            ),
        ]),
        Row("Load", [
            Panel(
                title="Transactions",
                description="Committed and rolled-back transactions. A rollback is caused by an error or a closed connection.",
                unit=units.OpsPerSecond,
                queries={"committed {{namespace}}": _rate("xact_commit"), "rolled back {{namespace}}": _rate("xact_rollback")},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Rows written",
                description="Rows inserted, updated and deleted.",
                unit="wps",
                queries={"inserted": _rate("tup_inserted"), "updated": _rate("tup_updated"), "deleted": _rate("tup_deleted")},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Time to fold a batch, 99 %",
                description="The 99th percentile of the time to store a batch of findings.",
                unit=units.Seconds,
                queries={"{{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate(auditflow_fold_batch_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                link=board("auditflow-services", "Services"),
            ),
            Panel(
                title="Cache hit ratio",
                description="The share of blocks that were read from memory. If it is below 0.95 for a long time, add memory.",
                unit=units.PercentUnit, maximum=1.0,
                queries={"{{namespace}}": f"{_rate('blks_hit')} / ({_rate('blks_hit')} + {_rate('blks_read')} > 0)"},
                link=board("auditflow-cost", "Resources"),
            ),
            Panel(
                title="Longest transaction",
                description="The age of the oldest open transaction. It prevents vacuum from removing deleted rows.",
                unit=units.Seconds, thresholds=[(60.0, "orange"), (600.0, "red")],
                queries={"{{namespace}}": f"max by (namespace) (pg_stat_activity_max_tx_duration{{{_DB}}})"},
                link=runbook("api-slow", "If the API is slow"),
            ),
            Panel(
                title="Locks and deadlocks",
                description="Locks that are held, and deadlocks within 5 minutes. Deadlocks should not occur, because locks are acquired in a fixed order.",
                unit=units.Short,
                queries={
                    "locks {{namespace}}": f"sum by (namespace) (pg_locks_count{{{_DB}}})",
                    "deadlocks {{namespace}}": f"sum by (namespace) (increase(pg_stat_database_deadlocks{{{_DB}}}[5m]))",
                },
                link=runbook("api-slow", "If the API is slow"),
            ),
        ]),
        Row("Data", [
            Panel(
                title="Size",
                description="The size of the databases on disk. Retention drops partitions of a month.",
                unit=units.BytesIEC, width=8,
                queries={"{{namespace}} {{datname}}": f"max by (namespace, datname) (pg_database_size_bytes{{{_DB}}})"},
                link=runbook("volume-fills", "If a volume is nearly full"),
            ),
            Panel(
                title="Age of the last successful backup",
                description="The time since the last successful backup. A backup runs every night.",
                unit=units.DurationSeconds, width=8, kind="number", thresholds=[(93600.0, "red")],
                queries={"{{namespace}}": f'time() - max by (namespace) (kube_cronjob_status_last_successful_time{{{NS}, cronjob="postgres-backup"}})'},
                link=runbook("backup-missing", "If a backup is missing"), no_value="no backup",
            ),
            Panel(
                title="Used volume space",
                description="The used share of the data volume.",
                unit=units.PercentUnit, width=8, maximum=1.0, thresholds=[(0.8, "orange"), (0.9, "red")],
                queries={"{{namespace}} {{persistentvolumeclaim}}": f'max by (namespace, persistentvolumeclaim) (1 - kubelet_volume_stats_available_bytes{{{NS}, persistentvolumeclaim=~".*postgres.*"}} / kubelet_volume_stats_capacity_bytes{{{NS}, persistentvolumeclaim=~".*postgres.*"}})'},
                link=runbook("volume-fills", "If a volume is nearly full"),
            ),
        ]),
    ],
)  # fmt: skip

"""PostgreSQL: where findings and alerts are kept."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_DB = f'{NS}, datname!~"template.*|postgres|"'


def _rate(metric: str) -> str:
    return f"sum by (namespace) (rate(pg_stat_database_{metric}{{{_DB}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-postgresql",
    title="AuditFlow: PostgreSQL",
    says="The database of findings and alerts, by postgres_exporter.",
    environments="label_values(pg_up, namespace)",
    rows=[
        Row("Is it there?", [
            Panel(
                title="Up",
                says="Whether the exporter reaches the database.",
                kind="number", unit=units.Short, width=4, base="red", steps=[(1.0, "green")],
                queries={"{{namespace}}": f"min by (namespace) (pg_up{{{NS}}})"},
                look=runbook("postgresql-down", "When it is down"),
            ),
            Panel(
                title="Connections",
                says="As a share of what is allowed. At 1 nobody gets in, the operator neither.",
                unit=units.PercentUnit, width=10, most=1.0, steps=[(0.8, "red")],
                queries={"{{namespace}}": f"sum by (namespace) (pg_stat_activity_count{{{NS}}}) / max by (namespace) (pg_settings_max_connections{{{NS}}})"},
                look=runbook("postgresql-connections-short", "When they run out"),
            ),
            Panel(
                title="Connections by state",
                says="`idle in transaction` for long holds rows that others wait for.",
                unit=units.Short, width=10, stacked=True,
                queries={"{{state}}": f"sum by (state) (pg_stat_activity_count{{{_DB}}})"},
                look=board("auditflow-services", "Who asks"),
            ),
        ]),
        Row("Work", [
            Panel(
                title="Transactions",
                says="Committed, and rolled back. A roll-back is an error, or a connection that ended.",
                unit=units.OpsPerSecond,
                queries={"committed {{namespace}}": _rate("xact_commit"), "rolled back {{namespace}}": _rate("xact_rollback")},
                look=board("auditflow-pipeline", "What they store"),
            ),
            Panel(
                title="Rows written",
                says="Rows inserted, updated, deleted.",
                unit="wps",
                queries={"inserted": _rate("tup_inserted"), "updated": _rate("tup_updated"), "deleted": _rate("tup_deleted")},
                look=board("auditflow-pipeline", "What they store"),
            ),
            Panel(
                title="Time to fold a batch, 99 %",
                says="What the service waits for the database when it stores findings.",
                unit=units.Seconds,
                queries={"{{namespace}}": f"histogram_quantile(0.99, sum by (namespace, le) (rate(auditflow_fold_batch_seconds_bucket{{{NS}}}[$__rate_interval])))"},
                look=board("auditflow-services", "The service"),
            ),
            Panel(
                title="Found in memory",
                says="The share of blocks that needed no reading from disk. Below 0.95 for long, more memory would help.",
                unit=units.PercentUnit, most=1.0,
                queries={"{{namespace}}": f"{_rate('blks_hit')} / ({_rate('blks_hit')} + {_rate('blks_read')} > 0)"},
                look=board("auditflow-cost", "What it may use"),
            ),
            Panel(
                title="Longest transaction",
                says="The age of the oldest open transaction. It keeps what others deleted from being cleaned up.",
                unit=units.Seconds, steps=[(60.0, "orange"), (600.0, "red")],
                queries={"{{namespace}}": f"max by (namespace) (pg_stat_activity_max_tx_duration{{{_DB}}})"},
                look=runbook("api-slow", "When answers are slow"),
            ),
            Panel(
                title="Locks and deadlocks",
                says="Locks that are held, and deadlocks in 5 minutes: there should be none, since locks are taken in order.",
                unit=units.Short,
                queries={
                    "locks {{namespace}}": f"sum by (namespace) (pg_locks_count{{{_DB}}})",
                    "deadlocks {{namespace}}": f"sum by (namespace) (increase(pg_stat_database_deadlocks{{{_DB}}}[5m]))",
                },
                look=runbook("api-slow", "When answers are slow"),
            ),
        ]),
        Row("Data", [
            Panel(
                title="Size",
                says="What the databases take on the disk. Retention drops whole months.",
                unit=units.BytesIEC, width=8,
                queries={"{{namespace}} {{datname}}": f"max by (namespace, datname) (pg_database_size_bytes{{{_DB}}})"},
                look=runbook("volume-fills", "When a volume fills"),
            ),
            Panel(
                title="Last good backup",
                says="How old it is. There should be one every night.",
                unit=units.DurationSeconds, width=8, kind="number", steps=[(93600.0, "red")],
                queries={"{{namespace}}": f'time() - max by (namespace) (kube_cronjob_status_last_successful_time{{{NS}, cronjob="postgres-backup"}})'},
                look=runbook("backup-missing", "When a backup is missing"), nothing="none is known",
            ),
            Panel(
                title="Room on the volume",
                says="The share of the data volume that is taken.",
                unit=units.PercentUnit, width=8, most=1.0, steps=[(0.8, "orange"), (0.9, "red")],
                queries={"{{namespace}} {{persistentvolumeclaim}}": f'max by (namespace, persistentvolumeclaim) (1 - kubelet_volume_stats_available_bytes{{{NS}, persistentvolumeclaim=~".*postgres.*"}} / kubelet_volume_stats_capacity_bytes{{{NS}, persistentvolumeclaim=~".*postgres.*"}})'},
                look=runbook("volume-fills", "When a volume fills"),
            ),
        ]),
    ],
)  # fmt: skip

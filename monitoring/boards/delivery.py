"""What is committed, what runs, and what is between them."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

#: Argo CD's own namespace label says where the Application is; this makes it the environment.
_APPS = 'dest_namespace=~"$namespace"'


def _count(labels: str) -> str:
    by = "sum by (dest_namespace)"
    return f"{by} (argocd_app_info{{{_APPS}, {labels}}}) or 0 * {by} (argocd_app_info{{{_APPS}}})"


BOARD = Board(
    uid="auditflow-delivery",
    title="AuditFlow: delivery",
    says="From a commit to what runs: syncs, drift, pins, and what somebody has paused.",
    environments="label_values(argocd_app_info, dest_namespace)",
    since="now-7d",
    rows=[
        Row("Is it what is committed?", [
            Panel(
                title="Not synced",
                says="Applications that differ from their commit. In prod that is a change that waits for a person; elsewhere it is drift.",
                kind="number", unit=units.Short, width=6, steps=[(1.0, "orange")],
                queries={"{{dest_namespace}}": _count('sync_status="OutOfSync"')},
                look=runbook("argo-cd-out-of-sync", "When it is out of sync"),
            ),
            Panel(
                title="Drift",
                says="Applications that Argo CD syncs by itself and that differ all the same.",
                unit=units.Short, width=10,
                queries={"{{dest_namespace}}": _count('sync_status="OutOfSync", autosync_enabled="true"')},
                look=runbook("commits-not-synced", "When commits do not arrive"),
            ),
            Panel(
                title="Paused",
                says="Applications that are not synced by themselves. In prod that is so on purpose; elsewhere somebody has paused the environment, and must not forget it.",
                unit=units.Short, width=8,
                queries={"{{dest_namespace}}": _count('autosync_enabled="false"')},
                look=runbook("environment-paused", "When it is paused"),
            ),
            Panel(
                title="Not healthy",
                says="Applications by health, those that are well left out.",
                kind="table", unit=units.Short, width=12,
                queries={"applications": f'count by (dest_namespace, name, health_status, sync_status, phase) (argocd_app_info{{{_APPS}, health_status!="Healthy"}})'},
                look=runbook("argo-cd-degraded", "When one is degraded"), nothing="all are well", hidden=["applications"],
            ),
            Panel(
                title="Objective: synced",
                says="The share of time that what is committed was what ran, where Argo CD syncs by itself. Promised are 99 %.",
                unit=units.PercentUnit, width=12, most=1.0,
                queries={"{{namespace}}": f"namespace:argocd_app_synced:ratio{{{NS}}}"},
                look=board("auditflow-slo", "All objectives"),
            ),
        ]),
        Row("What runs", [
            Panel(
                title="Pins",
                says="The image of each container, by environment. What prod lacks and staging has waits for its promotion.",
                kind="table", unit=units.Short, width=16, height=10,
                queries={"pods": f"count by (namespace, container, image_spec) (kube_pod_container_info{{{NS}}})"},
                look=runbook("promotion-waits", "When a promotion waits"),
            ),
            Panel(
                title="Commits that run",
                says="As the services say it themselves.",
                kind="table", unit=units.Short, width=8, height=10,
                queries={"pods": f"count by (namespace, service, revision) (auditflow_build_info{{{NS}}})"},
                look=runbook("image-does-not-verify", "When an image does not verify"),
            ),
        ]),
        Row("Argo CD at work", [
            Panel(
                title="Syncs",
                says="Syncs in an hour, by how they ended.",
                unit=units.Short,
                queries={"{{phase}}": "sum by (phase) (increase(argocd_app_sync_total[1h]))"},
                look=runbook("argo-cd-sync-failed", "When a sync fails"),
            ),
            Panel(
                title="Duration of a sync",
                says="The mean time of a sync, by environment.",
                unit=units.Seconds,
                queries={"{{project}}": "sum by (project) (increase(argocd_app_sync_duration_seconds_total[6h])) / (sum by (project) (increase(argocd_app_sync_total[6h])) > 0)"},
                look=board("auditflow-services", "What is rolled out"),
            ),
            Panel(
                title="Time to compare, 99 %",
                says="How long Argo CD takes to compare an Application with its commit.",
                unit=units.Seconds,
                queries={"99 %": "histogram_quantile(0.99, sum by (le) (rate(argocd_app_reconcile_bucket[$__rate_interval])))"},
                look=runbook("argo-cd-gone", "When Argo CD is gone"),
            ),
            Panel(
                title="Questions to git",
                says="Fetches and look-ups a second.",
                unit=units.RequestsPerSecond,
                queries={"{{request_type}}": "sum by (request_type) (rate(argocd_git_request_total[$__rate_interval]))"},
                look=runbook("argo-cd-unknown", "When the commit is not known"),
            ),
            Panel(
                title="Work that waits",
                says="Applications in the queues of the controller. It is empty most of the time.",
                unit=units.Short,
                queries={"{{name}}": 'sum by (name) (workqueue_depth{name=~"app_.+"})'},
                look=runbook("argo-cd-gone", "When Argo CD is gone"),
            ),
            Panel(
                title="The cluster",
                says="1 while Argo CD reaches the cluster.",
                unit=units.Short, most=1.0,
                queries={"{{server}}": "min by (server) (argocd_cluster_connection_status)"},
                look=runbook("argo-cd-unknown", "When the state is not known"),
            ),
        ]),
    ],
)  # fmt: skip

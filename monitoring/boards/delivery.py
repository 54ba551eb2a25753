"""Committed versions, running versions and syncs of Argo CD."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

#: The namespace label of Argo CD's metrics is the namespace of the Application, not the environment.
_APPS = 'dest_namespace=~"$namespace"'


def _count(labels: str) -> str:
    by = "sum by (dest_namespace)"
    return f"{by} (argocd_app_info{{{_APPS}, {labels}}}) or 0 * {by} (argocd_app_info{{{_APPS}}})"


BOARD = Board(
    uid="auditflow-delivery",
    title="AuditFlow: delivery",
    description="Deployments: syncs, drift, pinned images and paused Applications.",
    environments="label_values(argocd_app_info, dest_namespace)",
    time_from="now-7d",
    rows=[
        Row("Sync status", [
            Panel(
                title="Not synced",
                description="Applications that differ from their commit. In prod a change waits for a person; elsewhere it is drift.",
                kind="number", unit=units.Short, width=6, thresholds=[(1.0, "orange")],
                queries={"{{dest_namespace}}": _count('sync_status="OutOfSync"')},
                link=runbook("argo-cd-out-of-sync", "If an Application is out of sync"),
            ),
            Panel(
                title="Drift",
                description="Applications that differ from their commit although auto-sync is on.",
                unit=units.Short, width=10,
                queries={"{{dest_namespace}}": _count('sync_status="OutOfSync", autosync_enabled="true"')},
                link=runbook("commits-not-synced", "If commits are not synced"),
            ),
            Panel(
                title="Paused",
                description="Applications without auto-sync. In prod this is intended; elsewhere a person has paused the environment.",
                unit=units.Short, width=8,
                queries={"{{dest_namespace}}": _count('autosync_enabled="false"')},
                link=runbook("environment-paused", "If an environment is paused"),
            ),
            Panel(
                title="Not healthy",
                description="Applications that are not healthy.",
                kind="table", unit=units.Short, width=12,
                queries={"applications": f'count by (dest_namespace, name, health_status, sync_status, phase) (argocd_app_info{{{_APPS}, health_status!="Healthy"}})'},
                link=runbook("argo-cd-degraded", "If an Application is degraded"), no_value="all are healthy", hidden_labels=["applications"],
            ),
            Panel(
                title="Objective: synced",
                description="The share of Applications with auto-sync that run their commit. The objective is 99 %.",
                unit=units.PercentUnit, width=12, maximum=1.0,
                queries={"{{namespace}}": f"namespace:argocd_app_synced:ratio{{{NS}}}"},
                link=board("auditflow-slo", "Objectives"),
            ),
        ]),
        Row("Running versions", [
            Panel(
                title="Pins",
                description="The image of each container by environment. A version that runs in staging and not in prod waits for its promotion.",
                kind="table", unit=units.Short, width=16, height=10,
                queries={"pods": f"count by (namespace, container, image_spec) (kube_pod_container_info{{{NS}}})"},
                link=runbook("promotion-waits", "If a promotion waits"),
            ),
            Panel(
                title="Running commits",
                description="The commits that the services report.",
                kind="table", unit=units.Short, width=8, height=10,
                queries={"pods": f"count by (namespace, service, revision) (auditflow_build_info{{{NS}}})"},
                link=runbook("image-does-not-verify", "If an image signature is not valid"),
            ),
        ]),
        Row("DORA metrics and drift", [
            Panel(
                title="Deployments",
                description="Deployments of the last 30 days that ran and were Healthy, as `gitops dora --metrics` counts them.",
                kind="number", unit=units.Short, width=5,
                queries={"{{environment}}": "max by (environment) (auditflow_dora_deployments)"},
                link=runbook("promotion-waits", "If a promotion waits"), no_value="not measured",
            ),
            Panel(
                title="Rollbacks",
                description="Deployments of the last 30 days that were rolled back.",
                kind="number", unit=units.Short, width=5,
                queries={"{{environment}}": "max by (environment) (auditflow_dora_rollbacks)"},
                link=board("auditflow-slo", "Objectives"), no_value="not measured",
            ),
            Panel(
                title="Lead time and time to restore",
                description="The median time from the commit of an image to its deployment, and from a failed deployment to its rollback.",
                unit=units.Seconds, width=7,
                queries={
                    "lead time of {{environment}}": "max by (environment) (auditflow_dora_lead_time_seconds)",
                    "time to restore {{environment}}": "max by (environment) (auditflow_dora_restore_seconds)",
                },
                link=runbook("commits-not-synced", "If commits are not synced"), no_value="not measured",
            ),
            Panel(
                title="Resources that differ from git",
                description="The resources of each environment that are OutOfSync or not in git, as `gitops drift --metrics` counts them.",
                unit=units.Short, width=7,
                queries={"{{environment}} {{status}}": "sum by (environment, status) (auditflow_drift_resources)"},
                link=runbook("argo-cd-out-of-sync", "If an Application is out of sync"), no_value="not measured",
            ),
        ]),
        Row("Argo CD", [
            Panel(
                title="Syncs",
                description="Syncs per hour by result.",
                unit=units.Short,
                queries={"{{phase}}": "sum by (phase) (increase(argocd_app_sync_total[1h]))"},
                link=runbook("argo-cd-sync-failed", "If a sync fails"),
            ),
            Panel(
                title="Duration of a sync",
                description="The mean duration of a sync by environment.",
                unit=units.Seconds,
                queries={"{{project}}": "sum by (project) (increase(argocd_app_sync_duration_seconds_total[6h])) / (sum by (project) (increase(argocd_app_sync_total[6h])) > 0)"},
                link=board("auditflow-services", "Services"),
            ),
            Panel(
                title="Reconciliation duration, 99 %",
                description="The time in which Argo CD compares an Application with its commit.",
                unit=units.Seconds,
                queries={"99 %": "histogram_quantile(0.99, sum by (le) (rate(argocd_app_reconcile_bucket[$__rate_interval])))"},
                link=runbook("argo-cd-gone", "If Argo CD is down"),
            ),
            Panel(
                title="Git requests",
                description="Fetches and reference lookups per second.",
                unit=units.RequestsPerSecond,
                queries={"{{request_type}}": "sum by (request_type) (rate(argocd_git_request_total[$__rate_interval]))"},
                link=runbook("argo-cd-unknown", "If the sync status is unknown"),
            ),
            Panel(
                title="Work queue",
                description="Applications in the queues of the controller. The queues are usually empty.",
                unit=units.Short,
                queries={"{{name}}": 'sum by (name) (workqueue_depth{name=~"app_.+"})'},
                link=runbook("argo-cd-gone", "If Argo CD is down"),
            ),
            Panel(
                title="Cluster connection",
                description="1 while Argo CD reaches the cluster.",
                unit=units.Short, maximum=1.0,
                queries={"{{server}}": "min by (server) (argocd_cluster_connection_status)"},
                link=runbook("argo-cd-unknown", "If the sync status is unknown"),
            ),
        ]),
    ],
)  # fmt: skip

"""Costs, and requested resources compared with used resources."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_BY = "namespace, container"
_POD = f'{NS}, container!="", container!="POD"'


def _requested(resource: str) -> str:
    return f'sum by ({_BY}) (kube_pod_container_resource_requests{{{NS}, resource="{resource}"}})'


_CPU_USED = f"sum by ({_BY}) (rate(container_cpu_usage_seconds_total{{{_POD}}}[5m]))"
_MEMORY_USED = f"sum by ({_BY}) (container_memory_working_set_bytes{{{_POD}}})"
#: The cost of an environment per hour: allocated CPU and memory at the node's price.
_HOURLY_COST = (
    f"(sum by (namespace) (container_cpu_allocation{{{NS}}}"
    " * on (node) group_left () max by (node) (node_cpu_hourly_cost))"
    f" + sum by (namespace) (container_memory_allocation_bytes{{{NS}}} / 1073741824"
    " * on (node) group_left () max by (node) (node_ram_hourly_cost)))"
)

BOARD = Board(
    uid="auditflow-cost",
    title="AuditFlow: cost and right-sizing",
    description="Requested and used resources by service and environment, and the cost of an event.",
    environments="label_values(kube_pod_container_resource_requests, namespace)",
    time_from="now-7d",
    rows=[
        Row("Cost", [
            Panel(
                title="Cost per month",
                description="The cost of each environment for 30 days at the current rate: allocated CPU and memory at OpenCost's price of the node.",
                kind="number", unit=units.Euro, width=8,
                queries={"{{namespace}}": f"{_HOURLY_COST} * 720"},
                link=board("auditflow-services", "Services"),
            ),
            Panel(
                title="Cost per million events",
                description="The cost of one hour divided by the events of one hour. It falls with more events, because most of the cost is fixed.",
                kind="number", unit=units.Euro, width=8,
                queries={"{{namespace}}": f"{_HOURLY_COST} / (sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[1h])) > 0) * 1000000"},
                link=board("auditflow-pipeline", "From event to alert"), no_value="no events",
            ),
            Panel(
                title="Requested but unused",
                description="The share of requested CPU and memory that is not used. Part of it is reserved for peaks.",
                unit=units.PercentUnit, width=8, minimum=None,
                queries={
                    "CPU {{namespace}}": f"1 - sum by (namespace) ({_CPU_USED}) / sum by (namespace) ({_requested('cpu')})",
                    "memory {{namespace}}": f"1 - sum by (namespace) ({_MEMORY_USED}) / sum by (namespace) ({_requested('memory')})",
                },
                link=runbook("autoscaler-at-maximum", "If there are not enough resources"),
            ),
        ]),
        Row("Right-sizing", [
            Panel(
                title="CPU",
                description="Requested cores and the maximum use in the time range. A request of more than twice the maximum can be reduced.",
                kind="table", unit=units.Short, width=12, height=10,
                queries={"requested": _requested("cpu"), "maximum used": f"max_over_time(({_CPU_USED})[$__range:$__interval])"},
                link=runbook("autoscaler-at-maximum", "If there are not enough resources"),
            ),
            Panel(
                title="Memory",
                description="Requested memory, the limit, and the maximum use in the time range. A container is killed at its limit.",
                kind="table", unit=units.BytesIEC, width=12, height=10,
                queries={
                    "requested": _requested("memory"),
                    "limit": f'sum by ({_BY}) (kube_pod_container_resource_limits{{{NS}, resource="memory"}})',
                    "maximum used": f"max_over_time(({_MEMORY_USED})[$__range:$__interval])",
                },
                link=runbook("container-out-of-memory", "If a container is killed"),
            ),
            Panel(
                title="CPU: used / requested",
                description="1 means that a container uses exactly its request. Above 1 it uses CPU that others do not need.",
                unit=units.PercentUnit, width=8,
                queries={"{{namespace}} {{container}}": f"{_CPU_USED} / {_requested('cpu')}"},
                link=board("auditflow-services", "Services"),
            ),
            Panel(
                title="Memory: used / requested",
                description="1 means that a container uses exactly its request. Above 1 it is evicted early when the node has too little memory.",
                unit=units.PercentUnit, width=8,
                queries={"{{namespace}} {{container}}": f"{_MEMORY_USED} / {_requested('memory')}"},
                link=runbook("node-memory-short", "If the node has too little memory"),
            ),
            Panel(
                title="CPU throttling",
                description="The share of scheduling periods in which a container was stopped because it reached its CPU limit.",
                unit=units.PercentUnit, width=8, maximum=1.0,
                queries={"{{namespace}} {{container}}": f"sum by ({_BY}) (rate(container_cpu_cfs_throttled_periods_total{{{_POD}}}[5m])) / (sum by ({_BY}) (rate(container_cpu_cfs_periods_total{{{_POD}}}[5m])) > 0)"},
                link=board("auditflow-slo", "Objectives"),
            ),
        ]),
        Row("Metrics of the processes", [
            Panel(
                title="CPU time per event",
                description="CPU seconds of all services per event. Also available without a cluster.",
                unit=units.Seconds, width=12,
                queries={"{{namespace}}": f'sum by (namespace) (rate(process_cpu_seconds_total{{{NS}, job=~"audit-.+|notification-service|event-audit-dashboard"}}[5m])) / (sum by (namespace) (rate(auditflow_events_accepted_total{{{NS}}}[5m])) > 0)'},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Memory",
                description="Resident memory of each service. Also available without a cluster.",
                unit=units.BytesIEC, width=12,
                queries={"{{namespace}} {{job}}": f'sum by (namespace, job) (process_resident_memory_bytes{{{NS}, job=~"audit-.+|notification-service|event-audit-dashboard"}})'},
                link=board("auditflow-services", "Services"),
            ),
        ]),
    ],
)  # fmt: skip

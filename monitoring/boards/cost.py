"""What it costs, and what it asks for beside what it uses."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_BY = "namespace, container"
_POD = f'{NS}, container!="", container!="POD"'


def _requested(resource: str) -> str:
    return f'sum by ({_BY}) (kube_pod_container_resource_requests{{{NS}, resource="{resource}"}})'


_CPU_USED = f"sum by ({_BY}) (rate(container_cpu_usage_seconds_total{{{_POD}}}[5m]))"
_MEMORY_USED = f"sum by ({_BY}) (container_memory_working_set_bytes{{{_POD}}})"
#: An hour of an environment, in dollars: what it was given, at the node's price.
_HOUR = (
    f"(sum by (namespace) (container_cpu_allocation{{{NS}}}"
    " * on (node) group_left () max by (node) (node_cpu_hourly_cost))"
    f" + sum by (namespace) (container_memory_allocation_bytes{{{NS}}} / 1073741824"
    " * on (node) group_left () max by (node) (node_ram_hourly_cost)))"
)

BOARD = Board(
    uid="auditflow-cost",
    title="AuditFlow: cost and right-sizing",
    says="Requested beside used, by service and environment, and what an event costs.",
    environments="label_values(kube_pod_container_resource_requests, namespace)",
    since="now-7d",
    rows=[
        Row("What it costs", [
            Panel(
                title="A month",
                says="What each environment costs in 30 days at the rate of now: CPU and memory that it was given, at OpenCost's price of the node.",
                kind="number", unit=units.Dollars, width=8,
                queries={"{{namespace}}": f"{_HOUR} * 720"},
                look=board("auditflow-services", "What runs"),
            ),
            Panel(
                title="A million events",
                says="The cost of an hour by the events of an hour. It falls with more events: most of the cost is being there.",
                kind="number", unit=units.Dollars, width=8,
                queries={"{{namespace}}": f"{_HOUR} / (sum by (namespace) (increase(auditflow_events_accepted_total{{{NS}}}[1h])) > 0) * 1000000"},
                look=board("auditflow-pipeline", "Which events"), nothing="no event",
            ),
            Panel(
                title="Paid and not used",
                says="What is requested and not used, of CPU and of memory, as a share. Some of it is for the peak.",
                unit=units.PercentUnit, width=8, least=None,
                queries={
                    "CPU {{namespace}}": f"1 - sum by (namespace) ({_CPU_USED}) / sum by (namespace) ({_requested('cpu')})",
                    "memory {{namespace}}": f"1 - sum by (namespace) ({_MEMORY_USED}) / sum by (namespace) ({_requested('memory')})",
                },
                look=runbook("autoscaler-at-maximum", "When there is not enough"),
            ),
        ]),
        Row("Right-sizing", [
            Panel(
                title="CPU",
                says="Cores requested, and the most that was used at once in this time. A request of twice what is ever used can be smaller.",
                kind="table", unit=units.Short, width=12, height=10,
                queries={"requested": _requested("cpu"), "most used": f"max_over_time(({_CPU_USED})[$__range:$__interval])"},
                look=runbook("autoscaler-at-maximum", "When there is not enough"),
            ),
            Panel(
                title="Memory",
                says="Memory requested and allowed, and the most that was used at once in this time. At the limit a container is killed.",
                kind="table", unit=units.BytesIEC, width=12, height=10,
                queries={
                    "requested": _requested("memory"),
                    "limit": f'sum by ({_BY}) (kube_pod_container_resource_limits{{{NS}, resource="memory"}})',
                    "most used": f"max_over_time(({_MEMORY_USED})[$__range:$__interval])",
                },
                look=runbook("container-out-of-memory", "When a container is killed"),
            ),
            Panel(
                title="CPU used by requested",
                says="1 uses just what it asked for; above it lives on what others leave.",
                unit=units.PercentUnit, width=8,
                queries={"{{namespace}} {{container}}": f"{_CPU_USED} / {_requested('cpu')}"},
                look=board("auditflow-services", "The services"),
            ),
            Panel(
                title="Memory used by requested",
                says="1 uses just what it asked for; above it is among the first to go when the node is short.",
                unit=units.PercentUnit, width=8,
                queries={"{{namespace}} {{container}}": f"{_MEMORY_USED} / {_requested('memory')}"},
                look=runbook("node-memory-short", "When the node is short"),
            ),
            Panel(
                title="Waiting for its turn",
                says="The share of periods in which a container had used up its CPU limit and stood still.",
                unit=units.PercentUnit, width=8, most=1.0,
                queries={"{{namespace}} {{container}}": f"sum by ({_BY}) (rate(container_cpu_cfs_throttled_periods_total{{{_POD}}}[5m])) / (sum by ({_BY}) (rate(container_cpu_cfs_periods_total{{{_POD}}}[5m])) > 0)"},
                look=board("auditflow-slo", "Whether anybody notices"),
            ),
        ]),
        Row("What the processes say themselves", [
            Panel(
                title="CPU of an event",
                says="CPU seconds of all services for each event. It needs no cluster.",
                unit=units.Seconds, width=12,
                queries={"{{namespace}}": f'sum by (namespace) (rate(process_cpu_seconds_total{{{NS}, job=~"audit-.+|notification-service|event-audit-dashboard"}}[5m])) / (sum by (namespace) (rate(auditflow_events_accepted_total{{{NS}}}[5m])) > 0)'},
                look=board("auditflow-pipeline", "Which events"),
            ),
            Panel(
                title="Memory",
                says="Resident memory of each service. It needs no cluster.",
                unit=units.BytesIEC, width=12,
                queries={"{{namespace}} {{job}}": f'sum by (namespace, job) (process_resident_memory_bytes{{{NS}, job=~"audit-.+|notification-service|event-audit-dashboard"}})'},
                look=board("auditflow-services", "The services"),
            ),
        ]),
    ],
)  # fmt: skip

"""RabbitMQ: queues, consumers, message rates and resource limits."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_NOT_DLQ = f'{NS}, queue!~".+dlq"'


def _flow(metric: str) -> str:
    return f"sum by (namespace) (rate(rabbitmq_global_{metric}_total{{{NS}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-rabbitmq",
    title="AuditFlow: RabbitMQ",
    description="The message broker between the services.",
    environments='label_values(up{job="rabbitmq"}, namespace)',
    rows=[
        Row("Queues", [
            Panel(
                title="Ready",
                description="Messages that wait for a consumer. A queue is usually empty.",
                unit=units.Short, thresholds=[(10000.0, "orange")],
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_messages_ready{{{_NOT_DLQ}}})"},
                link=runbook("queue-grows", "If a queue grows"),
            ),
            Panel(
                title="Unacknowledged",
                description="Messages that a consumer has received and not acknowledged. The broker redelivers them if the consumer fails.",
                unit=units.Short,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_messages_unacked{{{_NOT_DLQ}}})"},
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Consumers",
                description="The number of consumers of each queue. Zero pages.",
                unit=units.Short,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_consumers{{{_NOT_DLQ}}})"},
                link=runbook("consumer-gone", "If there is no consumer"),
            ),
        ]),
        Row("Message rates", [
            Panel(
                title="Received, delivered, acknowledged",
                description="Messages that the broker received, delivered to consumers, and that consumers acknowledged.",
                unit=units.MessagesPerSecond, width=12,
                queries={
                    "received {{namespace}}": _flow("messages_received"),
                    "delivered {{namespace}}": _flow("messages_delivered"),
                    "acknowledged {{namespace}}": _flow("messages_acknowledged"),
                },
                link=board("auditflow-pipeline", "From event to alert"),
            ),
            Panel(
                title="Problems",
                description="Messages that were redelivered, that could not be routed to a queue, or that were dead-lettered because of too many deliveries.",
                unit=units.MessagesPerSecond, width=12,
                queries={
                    "redelivered {{namespace}}": _flow("messages_redelivered"),
                    "unroutable {{namespace}}": _flow("messages_unroutable_returned"),
                    "too many deliveries {{namespace}}": _flow("messages_dead_lettered_delivery_limit"),
                },
                link=runbook("dead-letters-grow", "How to handle dead letters"),
            ),
        ]),
        Row("Broker", [
            Panel(
                title="Memory",
                description="Memory as a share of the high watermark. At 1 the broker blocks publishers.",
                unit=units.PercentUnit, width=6, thresholds=[(0.8, "orange"), (1.0, "red")],
                queries={"{{namespace}}": f"max by (namespace) (rabbitmq_process_resident_memory_bytes{{{NS}}} / rabbitmq_resident_memory_limit_bytes{{{NS}}})"},
                link=runbook("rabbitmq-blocks-publishers", "If publishers are blocked"),
            ),
            Panel(
                title="Free disk space above the limit",
                description="Free disk space above the limit. At 0 the broker blocks publishers.",
                unit=units.BytesIEC, width=6, minimum=None,
                queries={"{{namespace}}": f"min by (namespace) (rabbitmq_disk_space_available_bytes{{{NS}}} - rabbitmq_disk_space_available_limit_bytes{{{NS}}})"},
                link=runbook("volume-fills", "If a volume is nearly full"),
            ),
            Panel(
                title="Alarms",
                description="1 while the broker blocks publishers because of memory or disk.",
                unit=units.Short, width=6, thresholds=[(1.0, "red")], maximum=1.0,
                queries={
                    "memory {{namespace}}": f"max by (namespace) (rabbitmq_alarms_memory_used_watermark{{{NS}}})",
                    "disk {{namespace}}": f"max by (namespace) (rabbitmq_alarms_free_disk_space_watermark{{{NS}}})",
                },
                link=runbook("rabbitmq-blocks-publishers", "If publishers are blocked"),
            ),
            Panel(
                title="Connections",
                description="Each consumer and each publisher has one connection. Many new connections mean that a service restarts often.",
                unit=units.Short, width=6,
                queries={
                    "open {{namespace}}": f"sum by (namespace) (rabbitmq_connections{{{NS}}})",
                    "opened in 5 min {{namespace}}": f"sum by (namespace) (increase(rabbitmq_connections_opened_total{{{NS}}}[5m]))",
                },
                link=board("auditflow-services", "Services"),
            ),
            Panel(
                title="Up",
                description="1 while Prometheus can scrape the broker.",
                kind="number", unit=units.Short, width=6, base_color="red", thresholds=[(1.0, "green")],
                queries={"{{namespace}}": f'min by (namespace) (up{{{NS}, job="rabbitmq"}})'},
                link=runbook("rabbitmq-down", "If the broker is down"),
            ),
            Panel(
                title="Version",
                description="The versions of RabbitMQ and Erlang.",
                kind="table", unit=units.Short, width=18,
                queries={"nodes": f"count by (namespace, rabbitmq_version, erlang_version) (rabbitmq_build_info{{{NS}}})"},
                link=board("auditflow-delivery", "Deployments"),
            ),
        ]),
    ],
)  # fmt: skip

"""RabbitMQ: what waits, who takes it, how near the broker is to refusing."""

from monitoring.boards.panels import NS, Board, Panel, Row, board, runbook, units

_NOT_DLQ = f'{NS}, queue!~".+dlq"'


def _flow(metric: str) -> str:
    return f"sum by (namespace) (rate(rabbitmq_global_{metric}_total{{{NS}}}[$__rate_interval]))"


BOARD = Board(
    uid="auditflow-rabbitmq",
    title="AuditFlow: RabbitMQ",
    says="The broker between the services.",
    environments='label_values(up{job="rabbitmq"}, namespace)',
    rows=[
        Row("Queues", [
            Panel(
                title="Ready",
                says="Messages that wait for a consumer. A queue is empty most of the time.",
                unit=units.Short, steps=[(10000.0, "orange")],
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_messages_ready{{{_NOT_DLQ}}})"},
                look=runbook("queue-grows", "When a queue grows"),
            ),
            Panel(
                title="In hand",
                says="Messages with a consumer that has not acknowledged them. They come again when it dies.",
                unit=units.Short,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_messages_unacked{{{_NOT_DLQ}}})"},
                look=board("auditflow-pipeline", "How old they are"),
            ),
            Panel(
                title="Consumers",
                says="How many take from a queue. 0 pages.",
                unit=units.Short,
                queries={"{{namespace}} {{queue}}": f"sum by (namespace, queue) (rabbitmq_detailed_queue_consumers{{{_NOT_DLQ}}})"},
                look=runbook("consumer-gone", "When nobody takes"),
            ),
        ]),
        Row("Flow", [
            Panel(
                title="In and out",
                says="Messages that publishers sent, that went to consumers, that these acknowledged.",
                unit=units.MessagesPerSecond, width=12,
                queries={
                    "received {{namespace}}": _flow("messages_received"),
                    "delivered {{namespace}}": _flow("messages_delivered"),
                    "acknowledged {{namespace}}": _flow("messages_acknowledged"),
                },
                look=board("auditflow-pipeline", "What they became"),
            ),
            Panel(
                title="What should not be",
                says="Messages delivered again, that no queue took, and that the broker itself put to the dead letters after too many deliveries.",
                unit=units.MessagesPerSecond, width=12,
                queries={
                    "again {{namespace}}": _flow("messages_redelivered"),
                    "no queue {{namespace}}": _flow("messages_unroutable_returned"),
                    "too many deliveries {{namespace}}": _flow("messages_dead_lettered_delivery_limit"),
                },
                look=runbook("dead-letters-grow", "What to do with dead letters"),
            ),
        ]),
        Row("The broker", [
            Panel(
                title="Memory",
                says="As a share of the watermark, at which publishers have to wait.",
                unit=units.PercentUnit, width=6, steps=[(0.8, "orange"), (1.0, "red")],
                queries={"{{namespace}}": f"max by (namespace) (rabbitmq_process_resident_memory_bytes{{{NS}}} / rabbitmq_resident_memory_limit_bytes{{{NS}}})"},
                look=runbook("rabbitmq-blocks-publishers", "When publishers wait"),
            ),
            Panel(
                title="Disk left",
                says="What is free above the limit, at which publishers have to wait.",
                unit=units.BytesIEC, width=6, least=None,
                queries={"{{namespace}}": f"min by (namespace) (rabbitmq_disk_space_available_bytes{{{NS}}} - rabbitmq_disk_space_available_limit_bytes{{{NS}}})"},
                look=runbook("volume-fills", "When a volume fills"),
            ),
            Panel(
                title="Alarms",
                says="1 while the broker takes nothing more, for want of memory or disk.",
                unit=units.Short, width=6, steps=[(1.0, "red")], most=1.0,
                queries={
                    "memory {{namespace}}": f"max by (namespace) (rabbitmq_alarms_memory_used_watermark{{{NS}}})",
                    "disk {{namespace}}": f"max by (namespace) (rabbitmq_alarms_free_disk_space_watermark{{{NS}}})",
                },
                look=runbook("rabbitmq-blocks-publishers", "When publishers wait"),
            ),
            Panel(
                title="Connections",
                says="Each consumer and each publisher has one. Many that open and close are a service that restarts.",
                unit=units.Short, width=6,
                queries={
                    "open {{namespace}}": f"sum by (namespace) (rabbitmq_connections{{{NS}}})",
                    "opened in 5 min {{namespace}}": f"sum by (namespace) (increase(rabbitmq_connections_opened_total{{{NS}}}[5m]))",
                },
                look=board("auditflow-services", "The services"),
            ),
            Panel(
                title="Up",
                says="Whether Prometheus reaches the broker.",
                kind="number", unit=units.Short, width=6, base="red", steps=[(1.0, "green")],
                queries={"{{namespace}}": f'min by (namespace) (up{{{NS}, job="rabbitmq"}})'},
                look=runbook("rabbitmq-down", "When the broker is down"),
            ),
            Panel(
                title="Version",
                says="What runs.",
                kind="table", unit=units.Short, width=18,
                queries={"nodes": f"count by (namespace, rabbitmq_version, erlang_version) (rabbitmq_build_info{{{NS}}})"},
                look=board("auditflow-delivery", "How it came there"),
            ),
        ]),
    ],
)  # fmt: skip

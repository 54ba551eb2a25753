"""The broker: a publisher that reports what was stored, and a consumer of batches.

pika's connections are not thread-safe, so each of the two owns one connection and one thread.
"""

from auditflow.amqp.batch_executor import Steps
from auditflow.amqp.connection import connection_parameters
from auditflow.amqp.consumer import Consumer, no_copies
from auditflow.amqp.dead_letter import DeadLetter
from auditflow.amqp.delivery import Delivery
from auditflow.amqp.metrics import ConsumerMetrics
from auditflow.amqp.publisher import Message, Publisher

__all__ = [
    "Consumer",
    "ConsumerMetrics",
    "DeadLetter",
    "Delivery",
    "Message",
    "Publisher",
    "Steps",
    "connection_parameters",
    "no_copies",
]

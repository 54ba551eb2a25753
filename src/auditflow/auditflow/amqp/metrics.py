"""The metrics of consumers."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from auditflow.amqp.dead_letter import Kind
from auditflow.contract import acceptance


class ConsumerMetrics:
    """The metrics of all consumers of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "auditflow_consumed_messages_total",
            "Messages that were processed and acknowledged.",
            ["queue"],
            registry=registry,
        )
        self._dead_letters = Counter(
            "auditflow_dead_letters_total",
            "Messages or parts of messages that were dead-lettered, by kind (contract, poison).",
            ["queue", "kind"],
            registry=registry,
        )
        self._pauses = Counter(
            "auditflow_consumer_pauses_total",
            "Attempts that failed because a dependency of the consumer was unavailable.",
            ["queue"],
            registry=registry,
        )
        self._redelivered = Counter(
            "auditflow_consumer_redelivered_messages_total",
            "Messages that were delivered before, to a consumer that ended or lost its connection.",
            ["queue"],
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "auditflow_consumer_batch_seconds",
            "Time to process a batch, without the time when a dependency was unavailable.",
            ["queue"],
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._lag_seconds = Histogram(
            "auditflow_consumer_lag_seconds",
            "Age of a batch's first event, since its acceptance, when the batch was acknowledged.",
            ["queue"],
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            registry=registry,
        )
        self._connected = Gauge(
            "auditflow_consumer_connected",
            "1 while the consumer is connected and subscribed.",
            ["queue"],
            registry=registry,
        )
        self._in_hand = Gauge(
            "auditflow_consumer_in_hand_messages",
            "Messages that were delivered and are not acknowledged.",
            ["queue"],
            registry=registry,
        )
        self._oldest_seconds = Gauge(
            "auditflow_consumer_oldest_seconds",
            "Age of the oldest unacknowledged event, since its acceptance; 0 without any.",
            ["queue"],
            registry=registry,
        )

    def for_queue(
        self,
        queue: str,
        *,
        connected: Callable[[], bool],
        in_hand: Callable[[], int],
        oldest: Callable[[], Mapping[str, Any] | None],
    ) -> "QueueMetrics":
        """The metrics of one queue.

        ``connected``, ``in_hand`` and ``oldest`` are called at each scrape, on another thread.
        ``in_hand`` returns the number of unacknowledged messages, and ``oldest`` the headers of the
        oldest of them.
        """
        self._connected.labels(queue).set_function(lambda: float(connected()))
        self._in_hand.labels(queue).set_function(in_hand)
        self._oldest_seconds.labels(queue).set_function(
            lambda: acceptance.age_seconds(oldest()) or 0.0
        )
        return QueueMetrics(
            messages=self._messages.labels(queue),
            pauses=self._pauses.labels(queue),
            redelivered=self._redelivered.labels(queue),
            batch_seconds=self._batch_seconds.labels(queue),
            lag_seconds=self._lag_seconds.labels(queue),
            dead_letters={kind: self._dead_letters.labels(queue, kind) for kind in get_args(Kind)},
        )


class QueueMetrics:
    """The metrics that the consumer of one queue updates."""

    def __init__(
        self,
        *,
        messages: Counter,
        pauses: Counter,
        redelivered: Counter,
        batch_seconds: Histogram,
        lag_seconds: Histogram,
        dead_letters: Mapping[Kind, Counter],
    ) -> None:
        self.messages = messages
        self.pauses = pauses
        self.redelivered = redelivered
        self.batch_seconds = batch_seconds
        self.lag_seconds = lag_seconds
        self.dead_letters = dead_letters

    def acknowledged(self, count: int, first: Mapping[str, Any]) -> None:
        """Record ``count`` acknowledged messages. ``first`` are the headers of the oldest one."""
        self.messages.inc(count)
        age = acceptance.age_seconds(first)
        if age is not None:
            self.lag_seconds.observe(age)

"""How to reach the broker, and how to keep trying."""

import threading
from collections.abc import Callable
from typing import Final

import pika
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from auditflow.settings import RabbitMQSettings

#: A broker that is silent this long is gone.
HEARTBEAT_SECONDS: Final = 30
#: The longest wait between two attempts: what a service lags behind a broker that is back.
MAX_WAIT_SECONDS: Final = 3.0


def parameters(settings: RabbitMQSettings, *, name: str) -> pika.ConnectionParameters:
    """Where to connect, under a name that the broker's own pages show."""
    return pika.ConnectionParameters(
        host=settings.rabbitmq_host,
        port=settings.rabbitmq_port,
        virtual_host=settings.rabbitmq_vhost,
        credentials=pika.PlainCredentials(
            settings.rabbitmq_user, settings.rabbitmq_pass.get_secret_value()
        ),
        heartbeat=HEARTBEAT_SECONDS,
        socket_timeout=5,
        stack_timeout=10,
        client_properties={"connection_name": name},
    )


def until_stopped(
    stop: threading.Event,
    *errors: type[Exception],
    report: Callable[[BaseException, float], None],
    sleep: Callable[[float], None] | None = None,
) -> Retrying:
    """Try again on these errors, with back-off and jitter, until ``stop`` is set.

    ``report`` is told each error and the seconds until the next attempt.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and state.next_action is not None:
            report(error, state.next_action.sleep)

    return Retrying(
        retry=retry_if_exception_type(errors),
        wait=wait_exponential_jitter(multiplier=0.1, max=MAX_WAIT_SECONDS, jitter=0.5),
        stop=stop_when_event_set(stop),
        sleep=sleep or sleep_using_event(stop),
        before_sleep=tell,
        reraise=True,
    )

"""Connection parameters of the broker, and retries until a stop event."""

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

from auditflow import tls
from auditflow.settings import RabbitMQSettings

#: The heartbeat interval in seconds. A peer that is silent for two intervals is disconnected.
HEARTBEAT_SECONDS: Final = 30
#: The maximum wait between two attempts. It limits the delay after the broker has recovered.
MAX_WAIT_SECONDS: Final = 3.0


def connection_parameters(settings: RabbitMQSettings, *, name: str) -> pika.ConnectionParameters:
    """The parameters of a connection. The management UI of RabbitMQ shows ``name``."""
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
        ssl_options=(
            pika.SSLOptions(tls.client_context(settings), server_hostname=settings.rabbitmq_host)
            if settings.rabbitmq_tls
            else None
        ),
    )


def retry_until_stopped(
    stop: threading.Event,
    *errors: type[Exception],
    report: Callable[[BaseException, float], None],
    sleep: Callable[[float], None] | None = None,
) -> Retrying:
    """Retry on these errors with exponential backoff and jitter, until ``stop`` is set.

    ``report`` gets each error and the number of seconds until the next attempt. After ``stop``, the
    last error is raised.
    """

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and state.next_action is not None:
            report(error, state.next_action.sleep)

    return Retrying(
        retry=retry_if_exception_type(errors),
        wait=wait_exponential_jitter(multiplier=0.1, max=MAX_WAIT_SECONDS, jitter=0.5),
        stop=stop_when_event_set(stop),
        sleep=sleep or sleep_using_event(stop),
        before_sleep=before_sleep,
        reraise=True,
    )

"""Publisher, consumer and tools use TLS, and trust only the configured authority."""

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pika
import pytest
import trustme
from click.testing import CliRunner

from auditflow import settings, tls
from auditflow.amqp import Delivery, Message, Publisher, connection_parameters, topology
from auditflow.amqp.subscription import Subscription
from auditflow.cli import main
from auditflow.settings import RabbitMQSettings, TlsSettings
from auditflow_local import ports
from auditflow_local.polling import eventually
from auditflow_local.processes import Command
from auditflow_local.servers.rabbitmq import RabbitMQ
from provisioning import rabbitmq as provisioned

from .conftest import Running

PASSWORD = "secret"


class TlsRabbitMQ(RabbitMQ):
    """A broker with a TLS listener."""

    certificates: Path
    tls_port: int

    def _command(self) -> Command:
        command = super()._command()
        with (self.folder / "rabbitmq.conf").open("a") as configuration:
            configuration.write(
                f"listeners.ssl.1 = {self.host}:{self.tls_port}\n"
                f"ssl_options.cacertfile = {self.certificates}/ca.crt\n"
                f"ssl_options.certfile = {self.certificates}/tls.crt\n"
                f"ssl_options.keyfile = {self.certificates}/tls.key\n"
            )
        return command


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, the server's certificate, and another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = trustme.CA(), trustme.CA()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    other.cert_pem.write_to_path(folder / "other.crt")
    server.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    server.private_key_pem.write_to_path(folder / "tls.key")
    return folder


@pytest.fixture(scope="module")
def broker(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRabbitMQ]:
    made = TlsRabbitMQ(
        tmp_path_factory.mktemp("broker"),
        port=ports.pick(),
        metrics_port=ports.pick(),
        distribution_port=ports.pick(),
        epmd_port=ports.pick(),
        definitions=provisioned.definitions({"auditflow-admin": PASSWORD}),
        passwords={"auditflow-admin": PASSWORD},
        durable=False,
    )
    made.certificates, made.tls_port = certificates, ports.pick()
    try:
        made.start()
        yield made
    finally:
        made.destroy()


def settings_for(broker: TlsRabbitMQ, authority: Path, **overrides: Any) -> RabbitMQSettings:
    return settings.load(
        RabbitMQSettings,
        **{
            "rabbitmq_host": "localhost",
            "rabbitmq_port": broker.tls_port,
            "rabbitmq_user": "auditflow-admin",
            "rabbitmq_pass": PASSWORD,
            "rabbitmq_tls": True,
            "tls_ca_file": str(authority),
            **overrides,
        },
    )


def test_messages_of_any_size_travel_over_tls(broker: TlsRabbitMQ, certificates: Path) -> None:
    # Given a publisher and a consumer over TLS
    parameters = connection_parameters(settings_for(broker, certificates / "ca.crt"), name="test")
    publisher = Publisher(parameters)
    publisher.start()
    eventually(lambda: publisher.check() is None)
    received: dict[str | None, int] = {}

    def handle(batch: Sequence[Delivery]) -> list[Any]:
        received.update((delivery.message_id, len(delivery.body)) for delivery in batch)
        return []

    running = Running(parameters, handle, publisher)
    # when messages of different sizes are published, also larger than a TLS record and a frame
    sizes = {str(size): size for size in (0, 1, 16_000, 17_000, 131_072, 3_000_000)}
    publisher.publish(
        [
            Message(
                exchange=topology.EXCHANGE, routing_key="event.x", body=b"x" * n, message_id=name
            )
            for name, n in sizes.items()
        ],
        timeout=60,
    )
    # then all arrive
    eventually(lambda: received == sizes)
    # also after the consumer waited for a while
    publisher.publish(
        [Message(exchange=topology.EXCHANGE, routing_key="event.x", body=b"x", message_id="later")],
        timeout=60,
    )
    eventually(lambda: "later" in received)
    running.consumer.stop()
    publisher.close()


@pytest.mark.parametrize(
    "overrides", [{"tls_ca_file": "other.crt"}, {"tls_ca_file": ""}, {"rabbitmq_host": "127.0.0.1"}]
)
def test_a_server_without_a_trusted_certificate_for_its_name_is_refused(
    broker: TlsRabbitMQ, certificates: Path, overrides: dict[str, str]
) -> None:
    if overrides.get("tls_ca_file"):
        overrides = {"tls_ca_file": str(certificates / overrides["tls_ca_file"])}
    loaded = settings_for(broker, certificates / "ca.crt", **overrides)
    parameters = connection_parameters(loaded, name="test")
    with pytest.raises(ssl.SSLCertVerificationError):
        Subscription(parameters, topology.EVENTS, prefetch=1)
    publisher = Publisher(parameters)
    publisher.start()
    eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in str(publisher.check()), seconds=60)
    publisher.close()


def test_a_client_without_tls_is_not_served_by_the_tls_port(
    broker: TlsRabbitMQ, certificates: Path
) -> None:
    loaded = settings_for(broker, certificates / "ca.crt", rabbitmq_tls=False)
    with pytest.raises((pika.exceptions.AMQPError, OSError)):
        Subscription(connection_parameters(loaded, name="test"), topology.EVENTS, prefetch=1)


def test_the_command_line_uses_tls(broker: TlsRabbitMQ, certificates: Path) -> None:
    environment = {
        "RABBITMQ_HOST": "localhost",
        "RABBITMQ_PORT": str(broker.tls_port),
        "RABBITMQ_USER": "auditflow-admin",
        "RABBITMQ_PASS": PASSWORD,
        "RABBITMQ_TLS": "true",
        "TLS_CA_FILE": str(certificates / "ca.crt"),
    }
    listed = CliRunner().invoke(main, ["dlq", "list"], env=environment)
    assert listed.exit_code == 0, listed.output
    assert "audit_alerts.dlq: empty" in listed.output


def test_old_versions_of_tls_are_not_used(certificates: Path) -> None:
    loaded = settings.load(TlsSettings, tls_ca_file=str(certificates / "ca.crt"))
    context = tls.client_context(loaded)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED

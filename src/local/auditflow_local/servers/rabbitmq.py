"""RabbitMQ with its own epmd, so that it shares nothing with another broker."""

import json
import secrets as random
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import pika
from pika.exceptions import AMQPError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from auditflow.amqp import topology
from auditflow_local import secrets
from auditflow_local.certificates import Certificates
from auditflow_local.errors import LocalError
from auditflow_local.processes import Child, Command, environment
from auditflow_local.servers.base import Server

#: Folders of the packaged scripts. The scripts in /usr/sbin switch to another user first.
_SCRIPTS: Final = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")
#: Two schedulers without busy waiting, because other processes need the CPU. Each application gets
#: one second to stop, because the Prometheus plugin would otherwise wait for five seconds.
_ERLANG: Final = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel shutdown_timeout 1000"
#: Interval of queue metrics in ms. The default is five seconds.
_FREQUENT_METRICS: Final = "-rabbit quorum_tick_interval 500"
#: The protocol header of AMQP 0-9-1, and the start of the answer: a method frame on channel 0.
_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_CONNECTION_START: Final = b"\x01\x00\x00"

_CONFIGURATION = """\
{listener}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {metrics_port}
load_definitions = {definitions}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
max_message_size = {max_message_bytes}
log.file = false
log.console = true
log.console.level = info
log.console.use_colors = off
"""


class RabbitMQ(Server):
    """A private broker of any version from 3.10 to 4.x.

    ``passwords`` are by user. ``definitions`` contain only their hashes.
    """

    name: ClassVar[str] = "rabbitmq"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        metrics_port: int,
        distribution_port: int,
        epmd_port: int,
        definitions: Mapping[str, Any],
        passwords: Mapping[str, str],
        log: Path | None = None,
        durable: bool = True,
        tls: Certificates | None = None,
    ) -> None:
        super().__init__(folder, port=port, log=log, durable=durable)
        self.vhost = "/"
        self.tls = tls
        self.metrics_port = metrics_port
        self._distribution_port = distribution_port
        self._epmd_port = epmd_port
        self._definitions = definitions
        self._passwords = dict(passwords)
        self._epmd = Child(
            "epmd", log=self.folder / "epmd.log", record=self.folder / "epmd.process"
        )

    @property
    def metrics_url(self) -> str:
        return f"http://{self.host}:{self.metrics_port}/metrics"

    @property
    def running(self) -> bool:
        return super().running and self._epmd.running

    def password_of(self, user: str) -> str:
        return self._passwords[user]

    def url(self, user: str) -> str:
        """Return the connection URL of a user."""
        name, password = quote(user, safe=""), quote(self.password_of(user), safe="")
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{name}:{password}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    def parameters(self, user: str) -> pika.ConnectionParameters:
        """Return the connection parameters of a user, with the TLS context if TLS is on."""
        parameters = pika.URLParameters(self.url(user))
        if self.tls:
            parameters.ssl_options = pika.SSLOptions(self.tls.client_context(), "localhost")
        return parameters

    def ready(self) -> bool:
        """Return whether the listener answers. It opens after the definitions were loaded."""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as plain:
                if self.tls is None:
                    return _answers(plain)
                context = self.tls.client_context()
                with context.wrap_socket(plain, server_hostname="localhost") as client:
                    return _answers(client)
        except OSError:
            return False

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def kill(self) -> None:
        super().kill()
        self._epmd.kill()

    def empty(self, *queues: str, user: str = "auditflow-admin") -> None:
        """Purge queues. Retries for a minute, because queues have no leader just after a start."""
        attempts = Retrying(
            retry=retry_if_exception_type(AMQPError),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(60),
            reraise=True,
        )
        for queue in queues:
            attempts(self._empty, queue, user)

    def _empty(self, queue: str, user: str) -> None:
        connection = pika.BlockingConnection(self.parameters(user))
        try:
            connection.channel().queue_purge(queue)
        finally:
            if connection.is_open:
                connection.close()

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this broker and return what it prints. Takes about a second."""
        done = subprocess.run(
            (str(_scripts() / "rabbitmqctl"), "--quiet", *arguments),
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalError(f"rabbitmqctl {arguments[0]}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def _start(self) -> None:
        self._epmd.spawn(
            Command(
                argv=("epmd", "-address", self.host, "-port", str(self._epmd_port)),
                folder=self.folder,
            )
        )
        super()._start()

    def _command(self) -> Command:
        definitions = self.folder / "definitions.json"
        secrets.write_file(definitions, json.dumps(self._definitions))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n", encoding="utf-8")
        (self.folder / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(
                host=self.host,
                listener=self._listener(),
                max_message_bytes=topology.MAX_MESSAGE_BYTES,
                metrics_port=self.metrics_port,
                definitions=definitions,
            ),
            encoding="utf-8",
        )
        return Command(
            argv=(str(_scripts() / "rabbitmq-server"),),
            env=self._environment(),
            folder=self.folder,
        )

    def _listener(self) -> str:
        if self.tls is None:
            return f"listeners.tcp.1 = {self.host}:{self.port}"
        return "\n".join(
            (
                "listeners.tcp = none",
                f"listeners.ssl.1 = {self.host}:{self.port}",
                f"ssl_options.cacertfile = {self.tls.ca}",
                f"ssl_options.certfile = {self.tls.certificate}",
                f"ssl_options.keyfile = {self.tls.key}",
                "ssl_options.verify = verify_none",
                "ssl_options.versions.1 = tlsv1.3",
                "ssl_options.versions.2 = tlsv1.2",
            )
        )

    def _environment(self) -> dict[str, str]:
        home = secrets.make_private(self.folder / "home")
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            secrets.write_file(cookie, random.token_hex(20))
            cookie.chmod(0o400)
        return environment(
            HOME=str(home),
            ERL_EPMD_ADDRESS=self.host,
            ERL_EPMD_PORT=str(self._epmd_port),
            RABBITMQ_NODENAME=f"{self._node()}@localhost",
            RABBITMQ_CONFIG_FILE=str(self.folder / "rabbitmq.conf"),
            RABBITMQ_CONF_ENV_FILE=str(self.folder / "no-rabbitmq-env.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(self.folder / "no-advanced.config"),
            RABBITMQ_DIST_PORT=str(self._distribution_port),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.folder / "enabled_plugins"),
            RABBITMQ_GENERATED_CONFIG_DIR=str(self.folder / "generated"),
            RABBITMQ_LOG_BASE=str(self.folder / "log"),
            RABBITMQ_MNESIA_BASE=str(self.folder / "mnesia"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
                f"{_ERLANG} {'' if self.durable else _FREQUENT_METRICS} "
                "-kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # With this variable the script replaces itself by the broker, so signals reach it.
            RUNNING_UNDER_SYSTEMD="true",
        )

    def _node(self) -> str:
        """Return the node name. It is stored, because it must not change if the folder moves."""
        file = self.folder / "node-name"
        if not file.exists():
            secrets.write_file(file, f"auditflow-{self._label()}")
        return file.read_text(encoding="utf-8").strip()


def _answers(client: socket.socket) -> bool:
    client.sendall(_PROTOCOL_HEADER)
    return client.recv(3) == _CONNECTION_START


def _scripts() -> Path:
    for folder in _SCRIPTS:
        if Path(folder, "rabbitmq-server").exists():
            return Path(folder)
    found = shutil.which("rabbitmq-server")
    if found is None:
        raise LocalError("rabbitmq-server: not found; `make up` installs it")
    return Path(found).resolve().parent

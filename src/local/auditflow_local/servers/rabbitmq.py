"""RabbitMQ: the way of the data. With its own epmd, so that it shares nothing with another one."""

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

from auditflow_local import secrets
from auditflow_local.errors import LocalError
from auditflow_local.processes import Child, Command, environment
from auditflow_local.servers.base import Server

#: Where packages put the real scripts. Those in /usr/sbin change to another user first.
_SCRIPTS: Final = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")
#: Fewer schedulers, which do not spin, on a machine where six other processes want to run. And at
#: most a second for each part to end: the Prometheus plugin's would take five, for nothing.
_ERLANG: Final = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel shutdown_timeout 1000"
#: How often a queue says how it is (ms). By default its numbers are up to five seconds old.
_TOLD_OFTEN: Final = "-rabbit quorum_tick_interval 500"
#: What a broker answers first to a client of AMQP 0-9-1: a method frame on channel 0.
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_CONNECTION_START: Final = b"\x01\x00\x00"

_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {metrics_port}
load_definitions = {definitions}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.file = false
log.console = true
log.console.level = info
log.console.use_colors = off
"""


class RabbitMQ(Server):
    """A private broker, of any version from 3.10 to 4.x.

    ``passwords`` are those of the users in ``definitions``, which hold only their hashes.
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
    ) -> None:
        super().__init__(folder, port=port, log=log, durable=durable)
        self.vhost = "/"
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
        """Where a client connects, as one of the users."""
        name, password = quote(user, safe=""), quote(self.password_of(user), safe="")
        return f"amqp://{name}:{password}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    def ready(self) -> bool:
        """The listener opens last, after the definitions are there."""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as client:
                client.sendall(_GREETING)
                return client.recv(3) == _CONNECTION_START
        except OSError:
            return False

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def kill(self) -> None:
        super().kill()
        self._epmd.kill()

    def empty(self, *queues: str, user: str = "auditflow-admin") -> None:
        """Remove all messages from queues, also just after a start when they have no leader."""
        attempts = Retrying(
            retry=retry_if_exception_type(AMQPError),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(20),
            reraise=True,
        )
        for queue in queues:
            attempts(self._empty, queue, user)

    def _empty(self, queue: str, user: str) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.url(user)))
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
        secrets.write(definitions, json.dumps(self._definitions))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n", encoding="utf-8")
        (self.folder / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(
                host=self.host,
                port=self.port,
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

    def _environment(self) -> dict[str, str]:
        home = secrets.private(self.folder / "home")
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            secrets.write(cookie, random.token_hex(20))
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
                f"{_ERLANG} {'' if self.durable else _TOLD_OFTEN} "
                "-kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # The script then becomes the broker instead of waiting for it: our signals arrive.
            RUNNING_UNDER_SYSTEMD="true",
        )

    def _node(self) -> str:
        """The data belong to the node's name, so it stays even when the folder is moved."""
        file = self.folder / "node-name"
        if not file.exists():
            secrets.write(file, f"auditflow-{self._label()}")
        return file.read_text(encoding="utf-8").strip()


def _scripts() -> Path:
    for folder in _SCRIPTS:
        if Path(folder, "rabbitmq-server").exists():
            return Path(folder)
    found = shutil.which("rabbitmq-server")
    if found is None:
        raise LocalError("rabbitmq-server: not found; `make up` installs it")
    return Path(found).resolve().parent

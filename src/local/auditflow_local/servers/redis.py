"""Redis, which stores the windows of the analysis."""

from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auditflow_local import secrets
from auditflow_local.certificates import Certificates
from auditflow_local.processes import Command
from auditflow_local.servers.base import Server
from provisioning import accounts
from provisioning import redis as provisioned_redis

#: The users of the services, and the administrator.
USER: Final = "audit-log-analysis"
DASHBOARD: Final = "event-audit-dashboard"
ADMIN: Final = "auditflow-admin"

_CONFIGURATION = """\
bind {host}
{listener}
protected-mode yes
daemonize no
dir "{data}"
aclfile "{acl}"
appendonly yes
appendfsync {sync}
save ""
# Evicting a window would lose an alert. A refused write only delays the queue.
maxmemory 256mb
maxmemory-policy noeviction
"""


class Redis(Server):
    """A private Redis. Only named users can connect. The configuration contains only hashes."""

    name: ClassVar[str] = "redis"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        password: str,
        admin_password: str,
        dashboard_password: str,
        log: Path | None = None,
        durable: bool = True,
        tls: Certificates | None = None,
    ) -> None:
        super().__init__(folder, port=port, log=log, durable=durable)
        self.user = USER
        self.tls = tls
        self.password = password
        self.admin_password = admin_password
        self._passwords = {USER: password, DASHBOARD: dashboard_password, ADMIN: admin_password}

    def password_of(self, user: str) -> str:
        """The password of a user."""
        return self._passwords[user]

    @property
    def url(self) -> str:
        """The connection URL of the service's user."""
        return self._url(self.user, self.password)

    @property
    def admin_url(self) -> str:
        """The connection URL of the administrator, for tests and operators."""
        return self._url(ADMIN, self.admin_password)

    def _url(self, user: str, password: str) -> str:
        address = f"{user}:{password}@{self.host}:{self.port}/0"
        if self.tls is None:
            return f"redis://{address}"
        return f"rediss://{address}?ssl_ca_certs={quote(str(self.tls.ca), safe='')}"

    def _listener(self) -> str:
        if self.tls is None:
            return f"port {self.port}"
        return "\n".join(
            (
                "port 0",
                f"tls-port {self.port}",
                f'tls-cert-file "{self.tls.certificate}"',
                f'tls-key-file "{self.tls.key}"',
                f'tls-ca-cert-file "{self.tls.ca}"',
                "tls-auth-clients no",
                'tls-protocols "TLSv1.2 TLSv1.3"',
            )
        )

    def ready(self) -> bool:
        try:
            # A readiness check must answer at once.
            with self._admin(seconds=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        """Delete all data."""
        with self._admin() as client:
            client.flushall()

    def _admin(self, *, seconds: float = 60) -> "redis.Redis":
        return redis.Redis.from_url(
            self.admin_url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )

    def _command(self) -> Command:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        acl = self.folder / "users.acl"
        secrets.write_file(
            acl,
            provisioned_redis.acl(
                {user: accounts.REDIS_USERS[user] for user in self._passwords},
                self._passwords,
            ),
        )
        configuration = self.folder / "redis.conf"
        secrets.write_file(
            configuration,
            _CONFIGURATION.format(
                host=self.host,
                listener=self._listener(),
                data=data,
                acl=acl,
                sync="always" if self.durable else "no",
            ),
        )
        return Command(argv=("redis-server", str(configuration)), folder=self.folder)

"""PostgreSQL: findings and alerts."""

import secrets as random
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from auditflow_local import secrets
from auditflow_local.certificates import Certificates
from auditflow_local.errors import LocalError
from auditflow_local.identity import Identity
from auditflow_local.processes import Command, as_user, environment
from auditflow_local.servers import postgres_roles, unprivileged
from auditflow_local.servers.base import Server
from auditflow_local.servers.postgres_programs import programs
from auditflow_local.servers.postgres_roles import APP, SUPERUSER

DATABASE: Final = "auditflow"
_SETTINGS: Final = {
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# Not synchronous_commit: without it, a killed server also loses acknowledged commits.
_NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Database:
    """A database on the server."""

    server: "Postgres"
    name: str

    def dsn(self, role: str = APP) -> str:
        """Return the connection URL for psycopg2 and SQLAlchemy."""
        return self.server.dsn(role, database=self.name)


class Postgres(Server):
    """A private PostgreSQL. ``passwords`` contains the password of each of the three roles."""

    name: ClassVar[str] = "postgres"
    #: "Fast shutdown": ends the sessions and writes everything.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        passwords: Mapping[str, str],
        log: Path | None = None,
        durable: bool = True,
        namespaces: bool = True,
        settings: Mapping[str, str] | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """``settings`` override PostgreSQL's configuration."""
        super().__init__(folder, port=port, log=log, durable=durable)
        self.database = DATABASE
        self._passwords = dict(passwords)
        self._namespaces = namespaces
        self._settings = dict(settings or {})
        self.tls = tls
        self._templates: set[str] = set()

    def password_of(self, role: str) -> str:
        return self._passwords[role]

    def dsn(self, role: str = APP, *, database: str = DATABASE) -> str:
        """Return the connection URL of one of the three roles."""
        return (
            f"postgresql://{role}:{self.password_of(role)}@{self.host}:{self.port}/{database}"
            f"?connect_timeout=30{self._tls_options()}"
        )

    def _tls_options(self) -> str:
        if self.tls is None:
            return ""
        return f"&sslmode=verify-full&sslrootcert={quote(str(self.tls.ca), safe='')}"

    def ready(self) -> bool:
        try:
            with self._session() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def fresh_database(self, *, template: str | None = None) -> Database:
        """Create a database for one test: empty, or a copy of a ``template``."""
        return self._create(f"test_{random.token_hex(6)}", template)

    def template(self, name: str, prepare: Callable[[Database], None]) -> str:
        """Return the name of a template database. ``prepare`` fills it at the first call."""
        full = f"template_{name}"
        if full not in self._templates:
            prepare(self._create(full, None))
            self._templates.add(full)
        return full

    def destroy(self) -> None:
        self.kill()
        unprivileged.remove(self._cluster)
        super().destroy()

    @property
    def _cluster(self) -> Path:
        return self.folder / "cluster"

    def _create(self, name: str, template: str | None) -> Database:
        with self._session() as cursor:
            postgres_roles.ensure_database(cursor, name, template=template or "template1")
        if template is None:
            with self._session(name) as cursor:
                postgres_roles.ensure_schema(cursor)
        return Database(self, name)

    def _after_start(self) -> None:
        with self._session() as cursor:
            postgres_roles.ensure_roles(cursor, self._passwords)
        self._create(self.database, None)

    @contextmanager
    def _session(self, database: str = "postgres") -> Iterator[Cursor]:
        with closing(psycopg2.connect(self.dsn(SUPERUSER, database=database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _command(self) -> Command:
        folder = unprivileged.prepare(
            self._cluster, label=self._label(), namespaces=self._namespaces
        )
        data = folder.path / "data"
        binaries = programs(data)
        if not data.exists():
            self._initialise(folder, binaries, data)
        _remove_stale_lock(data)
        settings = {
            **_SETTINGS,
            **({} if self.durable else _NOT_DURABLE),
            "listen_addresses": self.host,
            "port": str(self.port),
            **self._settings,
            **(self._tls_settings(folder) if self.tls else {}),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=(*folder.prefix, str(binaries / "postgres"), "-D", str(data), *options),
            env=environment(LC_ALL="C.UTF-8"),
            folder=folder.path,
            user=folder.user,
        )

    def _tls_settings(self, folder: unprivileged.DataFolder) -> dict[str, str]:
        """Copy the certificate for the server, and refuse plain connections."""
        assert self.tls is not None
        files = {
            "ssl_cert_file": (folder.path / "server.crt", self.tls.certificate.read_text()),
            "ssl_key_file": (folder.path / "server.key", self.tls.key.read_text()),
            "hba_file": (
                folder.path / "hba.conf",
                f"hostssl all all {self.host}/32 scram-sha-256\n",
            ),
        }
        for file, text in files.values():
            secrets.write_file(file, text)
            folder.give_access(file)
        folder.give_access(folder.path)
        return {
            "ssl": "on",
            "ssl_min_protocol_version": "TLSv1.2",
            **{name: str(file) for name, (file, _) in files.items()},
        }

    def _initialise(self, folder: unprivileged.DataFolder, binaries: Path, data: Path) -> None:
        """Create the data folder under a temporary name and rename it when it is complete."""
        unfinished, password = data.with_name("data.new"), data.with_name("superuser")
        subprocess.run(("rm", "-rf", "--", str(unfinished)), check=True)
        secrets.write_file(password, self.password_of(SUPERUSER) + "\n")
        folder.give_access(password)
        folder.give_access(folder.path)
        try:
            done = subprocess.run(
                (
                    *folder.prefix,
                    str(binaries / "initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    f"--locale={_locale()}",
                    *(() if self.durable else ("--no-sync",)),
                ),
                env=environment(LC_ALL="C"),
                cwd=folder.path,
                **as_user(folder.user),
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password.unlink(missing_ok=True)
        if done.returncode:
            raise LocalError(f"PostgreSQL's initdb failed: {done.stderr.strip() or done.stdout}")
        unfinished.rename(data)


def _remove_stale_lock(data: Path) -> None:
    """Remove the lock of a killed server if another program now has its pid.

    PostgreSQL only checks whether a process has the pid. In a container that restarts, pids are
    reused at once.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if Identity.of(pid) is None or Path(f"/proc/{pid}/comm").read_text().strip() != "postgres":
        lock.unlink()


def _locale() -> str:
    """Return a locale that sorts by code point, with UTF-8 letters if the system has it."""
    known = subprocess.run(("locale", "-a"), capture_output=True, text=True, check=False).stdout
    return "C.UTF-8" if {"C.utf8", "C.UTF-8"} & set(known.split()) else "C"

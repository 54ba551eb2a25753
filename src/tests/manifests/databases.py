"""The database of a namespace and the scripts that its pods run. Only folders are replaced."""

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
from pydantic import SecretStr

from notification_service.migrate import MigrateSettings, migrate
from provisioning.plan import plan

#: One alert, as SQL.
ALERT = """
INSERT INTO alerts (alert_id, fingerprint, sequence, status, rule_id, rule_title, rule_revision,
    rule_level, rule_tags, severity, entity, title, description, environment, count, finding_count,
    first_seen, last_seen, newest_finding_id, approximate, opened_at, updated_at, version)
VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'open', 'r', 'r', '1', 'high', '{}', 'CRITICAL',
    '{}', 'Failed logins', 'Five', 'dev', 5, 1, now(), now(), gen_random_uuid(), false, now(),
    now(), 1)
"""


class Database:
    """A namespace's database: a server, the mounted secrets, and the volume of the backups."""

    def __init__(self, server: Any, folder: Path, apps: Path) -> None:
        self.server = server
        self.apps = apps
        self.secrets = plan({})
        self.mounted = folder / "secrets"
        self.backups = folder / "backups"
        self.backups.mkdir()
        self.mount()
        for statement in (  # the local stack's own: an image begins with nothing
            "DROP DATABASE auditflow",
            "DROP ROLE auditflow_app, auditflow_archive, auditflow_owner",
            "CREATE DATABASE auditflow",
        ):
            self.as_superuser(statement, database="postgres")
        self.roles()

    def mount(self) -> None:
        for name, contents in self.secrets.items():
            (self.mounted / name).mkdir(parents=True, exist_ok=True)
            for key, value in contents.items():
                (self.mounted / name / key).write_text(value)

    def as_superuser(self, statement: str, database: str = "auditflow") -> None:
        connection = psycopg2.connect(self.server.dsn("postgres", database=database))
        connection.autocommit = True
        connection.cursor().execute(statement)
        connection.close()

    def connect(self, role: str, password: str) -> Any:
        return psycopg2.connect(
            host=self.server.host, port=self.server.port, dbname="auditflow", user=role,
            password=password,
        )  # fmt: skip

    def script(self, path: str, secret: str) -> str:
        text = (self.apps / "data/postgres" / path).read_text()
        return text.replace("/run/secrets/postgres", str(self.mounted / secret)).replace(
            "/backup", str(self.backups)
        )

    def roles(self) -> None:
        self._run(
            ("psql", "--no-psqlrc", "--quiet", self.server.dsn("postgres", database="auditflow")),
            self.script("base/roles.sql", "postgres"),
        )

    def backup(self, keep_days: int = 14) -> None:
        self._run(
            ("sh", "-s"),
            self.script("base/backup.sh", "postgres-backup"),
            PGUSER="auditflow_reader",
            KEEP_DAYS=str(keep_days),
        )

    def restore(self) -> str:
        return self._run(
            ("sh", "-s"),
            self.script("restore/restore.sh", "notification-service-migrate"),
            PGUSER="auditflow_owner",
        )

    def restore_archive(self) -> str:
        return self._run(
            ("sh", "-s"),
            self.script("restore-archive/restore.sh", "audit-event-archive"),
            PGUSER="auditflow_archive",
        )

    def fetch(self, **variables: str) -> str:
        return self._run(
            ("sh", "-s"), self.script("restore-s3/fetch.sh", "postgres-backup"), **variables
        )

    def _run(self, command: tuple[str, ...], script: str, **variables: str) -> str:
        where = {"PGHOST": self.server.host, "PGPORT": str(self.server.port),
                 "PGDATABASE": "auditflow"}  # fmt: skip
        done = subprocess.run(
            command, input=script, env=os.environ | where | variables, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def migrate(self) -> None:
        settings = MigrateSettings(
            pg_host=self.server.host, pg_port=self.server.port, pg_user="auditflow_owner",
            pg_password=SecretStr(self.secrets["notification-service-migrate"]["PG_PASSWORD"]),
        )  # fmt: skip
        migrate(settings, report=lambda _: None)

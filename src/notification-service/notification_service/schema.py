"""The revision of the database's schema, and the revisions that this version supports."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg2 import errors

from notification_service.database.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Migrations:
    """The migrations of this version."""

    config: Config
    scripts: ScriptDirectory

    def known(self, revision: str) -> bool:
        """Whether this version contains the migration. It contains none of newer versions."""
        return any(it.revision == revision for it in self.scripts.walk_revisions())

    def serves(self, revision: str | None) -> bool:
        """Whether this version may run on a database at ``revision``.

        It may run on its own newest revision, and on one of a newer version: a schema only expands
        as long as the previous version may run.
        """
        if revision is None:
            return False
        return revision == self.scripts.get_current_head() or not self.known(revision)


@contextmanager
def migrations() -> Iterator[Migrations]:
    """Read the migrations in this package."""
    config = Config()
    with resources.as_file(resources.files("notification_service.migrations")) as folder:
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        yield Migrations(config=config, scripts=ScriptDirectory.from_config(config))


def revision(connection: Connection) -> str | None:
    """The revision of the database, or None if it has no schema yet.

    Raises:
        psycopg2.Error: the database refuses, or the role may not read the revision.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
        except errors.UndefinedTable:
            row = None
    connection.rollback()
    return row[0] if row else None

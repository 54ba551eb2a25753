"""Which schema the database has, and which one this version was written for."""

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
    """The steps that this version knows, as Alembic sees them."""

    config: Config
    scripts: ScriptDirectory

    def known(self, revision: str) -> bool:
        """Whether this version has the step; a newer version's steps it has not."""
        return any(one.revision == revision for one in self.scripts.walk_revisions())

    def serves(self, revision: str | None) -> bool:
        """Whether this version may run on a database at ``revision``.

        It may on its own newest step, and on one that it does not know: schemas only expand until
        nobody runs the version before.
        """
        if revision is None:
            return False
        return revision == self.scripts.get_current_head() or not self.known(revision)


@contextmanager
def migrations() -> Iterator[Migrations]:
    """Read the steps that are part of this package."""
    config = Config()
    with resources.as_file(resources.files("notification_service.migrations")) as folder:
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        yield Migrations(config=config, scripts=ScriptDirectory.from_config(config))


def revision(connection: Connection) -> str | None:
    """The step that the database is at; None when it has no schema yet.

    Raises:
        psycopg2.Error: the database refuses, or the role may not look.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
        except errors.UndefinedTable:
            row = None
    connection.rollback()
    return row[0] if row else None

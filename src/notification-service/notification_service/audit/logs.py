"""The audit logs of this service: where their entries are stored, and their origins."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from auditflow.merkle.note import Signer

#: Entries that one checkpoint adds at most, and that one request reads.
PAGE: Final = 2_000


class AuditLog(Struct, frozen=True):
    """A log. Its entries are numbered from 1 without gaps; entry n is the leaf with index n - 1.

    ``table`` has the columns ``number`` and ``entry``, a text that is the leaf in UTF-8.
    """

    name: str
    table: str

    def origin(self, signer: Signer) -> str:
        """The origin of the log's checkpoints."""
        return f"{signer.name}/{self.name}"

    @property
    def read_entries(self) -> str:
        """A statement that reads the entries with the numbers from %(first)s to %(last)s."""
        return (
            f"SELECT number, entry FROM {self.table}"  # noqa: S608 - a constant  # nosec B608
            " WHERE number BETWEEN %(first)s AND %(last)s ORDER BY number"
        )

    @property
    def read_last_number(self) -> str:
        """A statement that reads the number of the last entry, or NULL."""
        return f"SELECT max(number) FROM {self.table}"  # noqa: S608 - a constant  # nosec B608

    @property
    def schema_and_table(self) -> tuple[str, str]:
        """The names of the schema and of the table."""
        schema, _, table = self.table.rpartition(".")
        return schema or "public", table


#: Actions on alerts.
HISTORY: Final = AuditLog("history", "alert_history")
#: What people and tokens did, reads included.
TRAIL: Final = AuditLog("trail", "audit_trail")
#: Findings, one entry for each transaction that stores some.
FINDINGS: Final = AuditLog("findings", "finding_log")
#: Files of the event archive. The archive process owns the table and adds the entries.
FILES: Final = AuditLog("files", "archive.file_log")
LOGS: Final[Mapping[str, AuditLog]] = {log.name: log for log in (HISTORY, TRAIL, FINDINGS, FILES)}

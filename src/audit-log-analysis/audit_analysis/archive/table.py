"""The columns of the archive's Parquet files. Pure.

A row is one event, or one refused record. All times are in milliseconds since 1970 (UTC).
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from auditflow.contract.event import LogSource
from auditflow.contract.ledger import HOUR_MS


class ArchivedEvent(NamedTuple):
    """One row. The field names are the column names.

    Text columns are null if the event has no value. ``record`` contains the event's JSON as it
    arrived; of a refused record, its bytes, of which at most 1 MiB is stored.

    - ``event_id``: of a refused record, the UUIDv5 of its bytes.
    - ``received_ms``: the time at which the ingest accepted the event. If the message does not
      state it: the event's timestamp, or the time of the analysis if that is earlier.
    - ``occurred_ms``: the event's timestamp as the analysis used it. A timestamp that is too far
      ahead is clamped. Of a refused record, the time of receipt.
    - ``source``: the log source by which files are separated, see ``source_of``.
    - ``host``, ``user``, ``address``, ``resource``: the observables.
    - ``late``: too late for a window. ``clamped``: see ``occurred_ms``. ``staged``: a staged rule
      matched. ``refused``: the event violates the contract, or its processing failed;
      ``reason`` states why.
    - ``processed_us``: the time at which the analysis began the batch of the event, in microseconds
      since 1970. ``position``: the position of the event in its batch. Both are the order in which
      the analysis received events. They are null in older files, and for refused records that came
      from the ingest.
    """

    event_id: str
    received_ms: int
    occurred_ms: int
    source: str
    event_type: str | None
    severity: str | None
    action_result: str | None
    source_service: str | None
    host: str | None
    user: str | None
    address: str | None
    resource: str | None
    product: str | None
    service: str | None
    category: str | None
    correlation_id: str | None
    late: bool
    clamped: bool
    staged: bool
    refused: bool
    reason: str | None
    record: bytes
    processed_us: int | None = None
    position: int | None = None


#: The SQL type of each column, without those of ``ORDER_COLUMNS``.
COLUMNS: Final[dict[str, str]] = {
    "event_id": "VARCHAR",
    "received_ms": "BIGINT",
    "occurred_ms": "BIGINT",
    "source": "VARCHAR",
    "event_type": "VARCHAR",
    "severity": "VARCHAR",
    "action_result": "VARCHAR",
    "source_service": "VARCHAR",
    "host": "VARCHAR",
    "user": "VARCHAR",
    "address": "VARCHAR",
    "resource": "VARCHAR",
    "product": "VARCHAR",
    "service": "VARCHAR",
    "category": "VARCHAR",
    "correlation_id": "VARCHAR",
    "late": "BOOLEAN",
    "clamped": "BOOLEAN",
    "staged": "BOOLEAN",
    "refused": "BOOLEAN",
    "reason": "VARCHAR",
    "record": "BLOB",
}
#: The columns that older files do not have, see ``rows_of``.
ORDER_COLUMNS: Final[dict[str, str]] = {"processed_us": "BIGINT", "position": "BIGINT"}
#: All columns, in the order of the fields of ``ArchivedEvent``.
STORED_COLUMNS: Final[dict[str, str]] = COLUMNS | ORDER_COLUMNS
#: The time at which the analysis received an event, or about that time, in microseconds since 1970.
PROCESSED_US: Final = "coalesce(processed_us, received_ms * 1000)"
#: The columns with a bloom filter, so that a search for one value skips most row groups.
BLOOM_FILTERS: Final = ("event_id", "host", "user", "address", "resource")

#: The products that have files of their own. The sender chooses the product, so the set is closed:
#: a sender must not be able to create any number of files.
PRODUCTS: Final = frozenset(
    {
        "alertmanager", "argocd", "auditd", "auditflow", "aws", "azure", "cisco_duo", "gcp",
        "github", "gitlab", "google_workspace", "kubernetes", "linux", "m365", "macos", "okta",
        "onelogin", "windows",
    }
)  # fmt: skip
#: The maximum difference between the receipt and the analysis of an event whose file has its hour.
RECENT_MS: Final = 7 * 24 * HOUR_MS
#: The source of events of all other products, and of refused records.
OTHER: Final = "other"


def source_of(logsource: LogSource | None) -> str:
    """The name by which files are separated: the product if it is known."""
    product = (logsource.product or "").lower() if logsource else ""
    return product if product in PRODUCTS else OTHER


def hour_of(timestamp_ms: int) -> dt.datetime:
    """The beginning of the hour that contains a time."""
    return dt.datetime.fromtimestamp(timestamp_ms // HOUR_MS * 3600, tz=dt.UTC)


def partition_hour_ms(row: ArchivedEvent) -> int:
    """The beginning of the hour by which the file of a row is chosen (ms).

    This is the hour of its receipt if that is at most ``RECENT_MS`` before its analysis. A client
    of the broker can choose any other time, and each hour needs a file. Therefore older rows are in
    the first hour of their year, and rows of the future in the first hour of 1970. The result does
    not depend on the time at which the row is written, so that a redelivered event is in the same
    hour, in which duplicates are removed.
    """
    hour_ms = row.received_ms // HOUR_MS * HOUR_MS
    if row.processed_us is None:
        return hour_ms
    age_ms = row.processed_us // 1000 - row.received_ms
    if -RECENT_MS <= age_ms <= RECENT_MS:
        return hour_ms
    if age_ms < 0 or hour_ms < 0:
        return 0
    year = dt.datetime(hour_of(row.received_ms).year, 1, 1, tzinfo=dt.UTC)
    return round(year.timestamp() * 1000)


def rows_of(files: str) -> str:
    """A table in SQL with ``STORED_COLUMNS`` of files, also of older files.

    ``files`` is an argument of ``read_parquet``.
    """
    nulls = ", ".join(f"NULL::{kind} AS {name}" for name, kind in ORDER_COLUMNS.items())
    return (
        f"(SELECT {nulls} WHERE false UNION ALL BY NAME"
        f" SELECT * FROM read_parquet({files}, union_by_name = true))"
    )


def columns_of(rows: Sequence[ArchivedEvent]) -> list[Sequence[Any]]:
    """The values of each column, in the order of ``STORED_COLUMNS``."""
    return list(zip(*rows, strict=True))

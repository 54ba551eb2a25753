"""Convert the timestamps of records."""

import datetime as dt

from auditflow.errors import ContractError


def to_utc(timestamp: dt.datetime) -> dt.datetime:
    """Convert a timestamp with an offset to UTC.

    Raises:
        ContractError: the timestamp is before the year 1 or after the year 9999 in UTC.
    """
    try:
        return timestamp.astimezone(dt.UTC)
    except OverflowError:
        raise ContractError(f"timestamp {timestamp.isoformat()} is out of range") from None

"""Random samples of alerts.

The identifiers of alerts are hashes, so all alerts with an identifier below a limit are a random
sample. The index ``alerts_sample`` contains the alerts of the largest sample.
"""

from typing import Final
from uuid import UUID

from msgspec import Struct

#: Largest part of all alerts in a sample. It is also in the predicate of ``alerts_sample``.
LARGEST_PART: Final = 1 / 8


class Sample(Struct, frozen=True):
    """A part of all alerts, from 0 to 1."""

    part: float

    @property
    def end(self) -> str:
        """The identifier below which the alerts of the sample are."""
        return str(UUID(int=min(int(self.part * 2**128), 2**128 - 1)))


def sample_of(total: int, *, wanted: int) -> Sample:
    """A sample that contains about ``wanted`` of ``total`` alerts, or fewer."""
    return Sample(min(wanted / total, LARGEST_PART))

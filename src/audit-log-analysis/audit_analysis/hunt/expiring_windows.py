"""Windows in memory that expire as in Redis, with the time of the archive as the clock."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from audit_analysis.windows import BucketSummary, Observation, ObservationResult, WindowSpec
from audit_analysis.windows.memory import MemoryWindows, WindowState
from audit_analysis.windows.request import idle_seconds

#: Time between two removals of expired windows (ms).
_INTERVAL: Final = 600_000


class ExpiringState(Struct, frozen=True, array_like=True):
    """The windows with their keys, and the times at which they expire (ms)."""

    windows: list[tuple[str, WindowState]]
    expiry: dict[str, int]
    now_ms: int


class ExpiringWindows:
    """A ``WindowStore`` whose clock is ``now_ms``: the time at which the events arrived."""

    def __init__(self) -> None:
        self._windows = MemoryWindows()
        self._expiry: dict[str, int] = {}
        self._removed_at = 0
        self.now_ms = 0

    def __len__(self) -> int:
        return len(self._expiry)

    def observe(self, observations: Sequence[Observation]) -> list[ObservationResult]:
        """See ``WindowStore``."""
        self._remove_expired()
        for observation in observations:
            idle_ms = idle_seconds(observation.spec) * 1000
            self._expiry[observation.key] = self.now_ms + idle_ms
        return self._windows.observe(observations)

    def mark_published(self, summaries: Sequence[tuple[str, WindowSpec, BucketSummary]]) -> None:
        """See ``WindowStore``."""
        self._windows.mark_published(summaries)

    def flush(self) -> None:
        """See ``WindowStore``. There is nothing to do."""

    def state(self) -> ExpiringState:
        """The content of all windows."""
        return ExpiringState(self._windows.state(), self._expiry, self.now_ms)

    def restore(self, state: ExpiringState) -> None:
        """Continue with windows of an earlier process."""
        self._windows = MemoryWindows(state.windows)
        self._expiry = dict(state.expiry)
        self.now_ms = state.now_ms

    def _remove_expired(self) -> None:
        if self.now_ms < self._removed_at + _INTERVAL:
            return
        self._removed_at = self.now_ms
        expired = [key for key, expiry in self._expiry.items() if expiry < self.now_ms]
        for key in expired:
            del self._expiry[key]
        self._windows.remove(expired)

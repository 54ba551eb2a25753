"""Windows: counting the events of one entity over time, with exact and reproducible results.

``spec`` defines windows and their results. ``memory`` and ``redis_windows`` are two stores with the
same results: one for rule tests and backtests, one for production.
"""

from audit_analysis.windows.spec import (
    BucketSummary,
    Hit,
    Observation,
    ObservationResult,
    WindowSpec,
    WindowStore,
)

__all__ = [
    "BucketSummary",
    "Hit",
    "Observation",
    "ObservationResult",
    "WindowSpec",
    "WindowStore",
]

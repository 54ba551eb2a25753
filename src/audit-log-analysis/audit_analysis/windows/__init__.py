"""Counting events of one entity over time, exactly: the same events give the same sightings.

``spec`` says what a window is and what it sees; ``memory`` and ``redis`` are two keepers of
windows that give the same answers, one for rule tests and one for production.
"""

from audit_analysis.windows.spec import (
    Hit,
    Observation,
    Outcome,
    Sighting,
    WindowKeeper,
    WindowSpec,
)

__all__ = ["Hit", "Observation", "Outcome", "Sighting", "WindowKeeper", "WindowSpec"]

"""Whether the services work, shared by all users for a few seconds."""

from typing import Final

from msgspec import Struct

from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.localization.translation import current, gettext

#: Time for which all users share the state, in seconds.
SHARED_SECONDS: Final = 5.0


class Part(Struct, frozen=True):
    """A part of the pipeline. ``problem`` is None if it works."""

    name: str
    problem: str | None


class PartsHealth:
    """Requests the health of the services and their dependencies. It is thread-safe."""

    def __init__(self, services: dict[str, ApiClient]) -> None:
        self._services = services
        self._shared: TimedCache[list[Part]] = TimedCache(seconds=SHARED_SECONDS)

    def parts(self) -> list[Part]:
        """The state of each service."""
        return self._shared.get(current().code, self._read)

    def _read(self) -> list[Part]:
        return [Part(gettext(name), client.readiness()) for name, client in self._services.items()]

"""Links from a notification back to the dashboard."""

from urllib.parse import quote


class Links:
    """Addresses of the dashboard. Without its URL there are no links."""

    def __init__(self, dashboard_url: str | None) -> None:
        self._base = dashboard_url.rstrip("/") if dashboard_url else None

    def alert(self, alert_id: object) -> str | None:
        """The page of an alert."""
        return f"{self._base}/alerts/{quote(str(alert_id), safe='')}" if self._base else None

    def alerts(self) -> str | None:
        """The list of alerts."""
        return f"{self._base}/alerts" if self._base else None

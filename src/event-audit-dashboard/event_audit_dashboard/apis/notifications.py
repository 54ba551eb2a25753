"""The routes of the notification service's API about routing, silences and deliveries."""

from collections.abc import Mapping
from typing import Any

from auditflow.contract import notification as contract
from event_audit_dashboard.apis.client import ApiClient, Caller, segment


class NotificationsApi:
    """Reads and changes what concerns notifications. It is thread-safe."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def routing(self, caller: Caller) -> contract.RoutingView:
        """The routes and receivers that are in force."""
        return self._client.get("/api/v1/routes", caller, contract.RoutingView)

    def resolve(self, labels: Mapping[str, str], caller: Caller) -> contract.Routing:
        """Where an alert with these labels would go."""
        body = {"labels": dict(labels)}
        return self._client.post("/api/v1/routes/resolve", caller, contract.Routing, body)

    def route_of_alert(self, alert_id: str, caller: Caller) -> contract.Routing:
        """Where an alert goes, and what hides it from notification."""
        path = f"/api/v1/alerts/{segment(alert_id)}/route"
        return self._client.get(path, caller, contract.Routing)

    def on_call(self, caller: Caller) -> contract.OnCallList:
        """Who is on call now, by schedule."""
        return self._client.get("/api/v1/on-call", caller, contract.OnCallList)

    def deliveries(
        self, parameters: Mapping[str, str], caller: Caller, *, limit: int = 50
    ) -> contract.NotificationList:
        """Notifications, the newest first. ``parameters`` are status, receiver, alert_id, after."""
        query = {**parameters, "limit": str(limit)}
        return self._client.get("/api/v1/notifications", caller, contract.NotificationList, query)

    def retry(self, notification_id: str, caller: Caller) -> contract.NotificationDetail:
        """Deliver a dead notification again."""
        path = f"/api/v1/notifications/{segment(notification_id)}/retry"
        return self._client.post(path, caller, contract.NotificationDetail, {})

    def send_test(self, receiver: str, caller: Caller) -> contract.NotificationDetail:
        """Send a test notification to a receiver."""
        path, body = "/api/v1/notifications/test", {"receiver": receiver}
        return self._client.post(path, caller, contract.NotificationDetail, body)

    def silences(self, caller: Caller, *, after: str = "") -> contract.SilenceList:
        """Silences, the newest first, 50 on a page."""
        query = {"after": after} if after else None
        return self._client.get("/api/v1/silences", caller, contract.SilenceList, query)

    def silence(self, silence_id: str, caller: Caller) -> contract.SilenceView:
        """One silence."""
        path = f"/api/v1/silences/{segment(silence_id)}"
        return self._client.get(path, caller, contract.SilenceView)

    def hidden_alerts(self, silence_id: str, caller: Caller) -> contract.HiddenAlerts:
        """The alerts that a silence hides now."""
        path = f"/api/v1/silences/{segment(silence_id)}/alerts"
        return self._client.get(path, caller, contract.HiddenAlerts)

    def preview_silence(self, fields: Mapping[str, Any], caller: Caller) -> contract.HiddenAlerts:
        """The alerts of the last days that a silence would have hidden."""
        return self._client.post("/api/v1/silences/preview", caller, contract.HiddenAlerts, fields)

    def create_silence(self, fields: Mapping[str, Any], caller: Caller) -> contract.SilenceView:
        """Create a silence."""
        return self._client.post("/api/v1/silences", caller, contract.SilenceView, fields)

    def silence_alert(
        self, alert_id: str, fields: Mapping[str, Any], caller: Caller
    ) -> contract.SilenceView:
        """Silence the rule of an alert for its entity."""
        path = f"/api/v1/alerts/{segment(alert_id)}/silence"
        return self._client.post(path, caller, contract.SilenceView, fields)

    def end_silence(self, silence_id: str, caller: Caller) -> contract.SilenceView:
        """End a silence now."""
        path = f"/api/v1/silences/{segment(silence_id)}"
        reply = self._client.send("DELETE", path, caller)
        return self._client.decode(reply.body, contract.SilenceView)

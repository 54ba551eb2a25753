"""Examples of the notification API for the OpenAPI document."""

import datetime as dt
from typing import Any, Final
from uuid import UUID

from auditflow.contract.level import Level
from auditflow.contract.notification import (
    AlertSilenceRequest,
    HiddenAlert,
    HiddenAlerts,
    LabelsRequest,
    MaintenanceRequest,
    NotificationDetail,
    NotificationList,
    NotificationSummary,
    NotifiedAlert,
    OnCallList,
    PreviewRequest,
    ReceiverView,
    ResolvedRoute,
    RouteView,
    Routing,
    RoutingView,
    SendTestRequest,
    ShiftView,
    SilenceList,
    SilenceRequest,
    SilenceView,
)
from auditflow.http.openapi import PathParameter

_ALERT: Final = UUID("0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10")
NOTIFICATION: Final = UUID("2a6f5c1e-1c55-4d0f-9f8a-5f4a3d2c1b00")
SILENCE: Final = UUID("6b1e7f80-54a2-4f4b-8f0c-9a7b6c5d4e3f")
_NOW: Final = dt.datetime(2026, 1, 31, 8, 1, tzinfo=dt.UTC)
_LATER: Final = dt.datetime(2026, 1, 31, 10, 1, tzinfo=dt.UTC)
_MATCHERS: Final = ('rule="failed-login-burst"', 'host=~"scanner-.+"')
_FIELDS: Final[dict[str, Any]] = {
    "notification_id": NOTIFICATION,
    "receiver": "security-chat",
    "kind": "alerts",
    "title": "[high] Burst of failed logins (alice, web-1)",
    "alert_count": 1,
    "status": "sent",
    "attempts": 1,
    "created_at": _NOW,
    "next_attempt_at": None,
    "sent_at": _NOW,
    "delivered_to": "Slack",
    "last_error": None,
    "merged_into": None,
}
_SILENCE: Final = SilenceView(
    silence_id=SILENCE,
    state="active",
    matchers=_MATCHERS,
    author="alice",
    reason="A planned scan.",
    starts_at=_NOW,
    ends_at=_LATER,
    recurrence=None,
    duration=None,
    time_zone="UTC",
    until_resolved=None,
    external_id=None,
    created_at=_NOW,
    cancelled_at=None,
    cancelled_by=None,
)

PATH_PARAMETERS: Final[dict[str, PathParameter]] = {
    "notification_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The notification_id of a list.",
        str(NOTIFICATION),
    ),
    "silence_id": PathParameter(
        {"type": "string", "format": "uuid"},
        "The silence_id of a list.",
        str(SILENCE),
    ),
}

OF: Final[dict[type, Any]] = {
    NotificationList: NotificationList((NotificationSummary(**_FIELDS),), None),
    NotificationDetail: NotificationDetail(**_FIELDS, alerts=(NotifiedAlert(_ALERT, "new"),)),
    SendTestRequest: SendTestRequest("security-chat"),
    SilenceRequest: SilenceRequest(
        matchers=_MATCHERS, reason="A planned scan.", starts_at=_NOW, ends_at=_LATER
    ),
    AlertSilenceRequest: AlertSilenceRequest(reason="A known test.", duration="2h"),
    MaintenanceRequest: MaintenanceRequest(
        id="CHG-1042", title="Patch web-1", starts_at=_NOW, ends_at=_LATER, matchers=_MATCHERS
    ),
    PreviewRequest: PreviewRequest(matchers=_MATCHERS, days=7),
    SilenceView: _SILENCE,
    SilenceList: SilenceList((_SILENCE,), None),
    HiddenAlerts: HiddenAlerts(
        1, (HiddenAlert(_ALERT, "Burst of failed logins", Level.HIGH, _NOW),), complete=True
    ),
    LabelsRequest: LabelsRequest({"level": "critical", "environment": "prod"}),
    Routing: Routing(
        labels={"level": "critical", "environment": "prod"},
        routes=(
            ResolvedRoute(
                receiver="on-call",
                on_call="alice-phone",
                matchers=('level="critical"',),
                group={"rule": ""},
            ),
        ),
        hidden_by=None,
    ),
    RoutingView: RoutingView(
        error=None,
        calendar_errors={},
        routes=(
            RouteView(
                receiver="security-chat",
                matchers=(),
                group_by=("rule",),
                group_wait="30s",
                group_interval="5m",
                repeat_interval="4h",
                remind_after=None,
                escalate=("15m: manager",),
                depth=0,
            ),
        ),
        receivers=(ReceiverView("security-chat", "apprise", circuit_open=False),),
    ),
    OnCallList: OnCallList((ShiftView("primary", "Alice", "alice-phone", _NOW, _LATER),)),
}

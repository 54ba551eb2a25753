"""The messages of the notification API (``/api/v1``), shared by the service and its clients."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from auditflow.contract.access import PersonName
from auditflow.contract.event import Timestamp
from auditflow.contract.level import Level

MAX_MATCHERS = 20
MAX_REASON = 1_000

Kind = Literal["alerts", "escalation", "reminder", "digest", "test"]
DeliveryStatus = Literal["pending", "sending", "sent", "dead", "merged"]
Matchers = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=1_200)], ...],
    Meta(min_length=1, max_length=MAX_MATCHERS, description='For example `level="critical"`.'),
]
ReasonText = Annotated[str, Meta(min_length=1, max_length=MAX_REASON, pattern=r"^[^\x00]*$")]
DurationText = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]{1,6}[wdhms])+$",
        max_length=40,
        description="For example `1h30m`.",
        extra={"rule": "must be a duration, such as 30s, 5m, 1h30m or 7d"},
    ),
]
ExternalId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _doc(description: str) -> Meta:
    return Meta(description=description)


class NotificationSummary(Struct, frozen=True, kw_only=True):
    """A notification and the state of its delivery."""

    notification_id: Annotated[UUID, _doc("Also the idempotency key of a webhook.")]
    receiver: Annotated[str, _doc("The receiver, by its name in the routing file.")]
    kind: Annotated[Kind, _doc("What caused the notification.")]
    title: Annotated[str, _doc("The notification in one line.")]
    alert_count: Annotated[int, _doc("Number of alerts that it is about.")]
    status: Annotated[DeliveryStatus, _doc("`merged`: part of a digest. `dead`: given up.")]
    attempts: Annotated[int, _doc("Number of attempts to deliver it.")]
    created_at: Timestamp
    next_attempt_at: Annotated[Timestamp | None, _doc("Time of the next attempt, if it waits.")]
    sent_at: Annotated[Timestamp | None, _doc("Time when the receiver accepted it.")]
    delivered_to: Annotated[str | None, _doc("What accepted it, without secrets.")]
    last_error: Annotated[str | None, _doc("Why the last attempt failed.")]
    merged_into: Annotated[UUID | None, _doc("The digest that contains it.")]


class NotificationList(Struct, frozen=True):
    """Notifications, the newest first."""

    notifications: tuple[NotificationSummary, ...]
    next_after: Annotated[UUID | None, _doc("Send it as `after` to read the next page.")]


class NotifiedAlert(Struct, frozen=True):
    """An alert of a notification."""

    alert_id: UUID
    reason: Annotated[str, _doc("For example `new`, `raised`, `repeat` or `resolved`.")]


class NotificationDetail(NotificationSummary, frozen=True, kw_only=True):
    """A notification with its alerts."""

    alerts: Annotated[tuple[NotifiedAlert, ...], _doc("At most 1,000.")]


class SendTestRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Send a test notification to a receiver."""

    receiver: Annotated[str, Meta(min_length=1, max_length=63)]


class RetryRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Deliver a dead notification again. The body may be empty."""


class SilenceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new silence."""

    matchers: Matchers
    reason: ReasonText
    starts_at: Annotated[Timestamp | None, _doc("Now, if it is left out.")] = None
    ends_at: Annotated[Timestamp | None, _doc("Required without a recurrence.")] = None
    recurrence: (
        Annotated[str, Meta(max_length=200, description="An RRULE: `FREQ=WEEKLY;BYDAY=SU`.")] | None
    ) = None
    duration: Annotated[DurationText | None, _doc("Length of each occurrence.")] = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=60)] = "UTC"


class AlertSilenceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Silence the rule of an alert for its entity. Without a duration: until it is resolved."""

    reason: ReasonText
    duration: Annotated[DurationText | None, _doc("How long, from now.")] = None


class MaintenanceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A maintenance window of a change system. The same ``id`` replaces the window before."""

    id: ExternalId
    title: ReasonText
    starts_at: Timestamp
    ends_at: Timestamp
    matchers: Matchers


class SilenceView(Struct, frozen=True, kw_only=True):
    """A silence. It hides alerts from notification, and never drops them."""

    silence_id: UUID
    state: Annotated[Literal["pending", "active", "ended"], _doc("At the time of the answer.")]
    matchers: tuple[str, ...]
    author: PersonName
    reason: str
    starts_at: Timestamp
    ends_at: Timestamp | None
    recurrence: str | None
    duration: str | None
    time_zone: str
    until_resolved: Annotated[UUID | None, _doc("It ends when this alert is resolved.")]
    external_id: Annotated[str | None, _doc("The identifier in the change system.")]
    created_at: Timestamp
    cancelled_at: Timestamp | None
    cancelled_by: str | None


class SilenceList(Struct, frozen=True):
    """Silences, the newest first."""

    silences: tuple[SilenceView, ...]
    next_after: Annotated[UUID | None, _doc("Send it as `after` to read the next page.")]


class HiddenAlert(Struct, frozen=True):
    """An alert that a silence hides, or would have hidden."""

    alert_id: UUID
    title: str
    level: Level
    opened_at: Timestamp


class HiddenAlerts(Struct, frozen=True):
    """Alerts that a silence hides, the newest first."""

    total: Annotated[int, _doc("Number of alerts, exact up to 100,000.")]
    alerts: Annotated[tuple[HiddenAlert, ...], _doc("At most 1,000.")]
    complete: Annotated[bool, _doc("All alerts are listed.")]


class PreviewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts would a silence have hidden?"""

    matchers: Matchers
    days: Annotated[int, Meta(ge=1, le=90)] = 7
    recurrence: Annotated[str, Meta(max_length=200)] | None = None
    starts_at: Annotated[Timestamp | None, _doc("Begin of the first occurrence.")] = None
    duration: DurationText | None = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=60)] = "UTC"


class RouteView(Struct, frozen=True, kw_only=True):
    """A route, with what it inherits."""

    receiver: str
    matchers: tuple[str, ...]
    group_by: tuple[str, ...]
    group_wait: str
    group_interval: str
    repeat_interval: str
    remind_after: str | None
    escalate: Annotated[tuple[str, ...], _doc("For example `15m: manager`.")]
    depth: Annotated[int, _doc("Level in the tree; 0 is the root.")]


class ReceiverView(Struct, frozen=True):
    """A receiver."""

    name: str
    kind: Literal["webhook", "apprise", "on_call"]
    circuit_open: Annotated[bool, _doc("Nothing is sent for now, because it failed repeatedly.")]


class RoutingView(Struct, frozen=True, kw_only=True):
    """The routing that is in force."""

    error: Annotated[str | None, _doc("Why the newest routing file is not in force.")]
    calendar_errors: Annotated[dict[str, str], _doc("iCal files that cannot be read.")]
    routes: Annotated[tuple[RouteView, ...], _doc("In the order of the file.")]
    receivers: tuple[ReceiverView, ...]


class ResolvedRoute(Struct, frozen=True, kw_only=True):
    """Where an alert goes."""

    receiver: str
    on_call: Annotated[str | None, _doc("Who is on call now, for an on-call receiver.")]
    matchers: Annotated[tuple[str, ...], _doc("Of the deepest route.")]
    group: Annotated[dict[str, str], _doc("The labels of its group.")]


class Routing(Struct, frozen=True, kw_only=True):
    """This alert would go to these receivers."""

    labels: Annotated[dict[str, str], _doc("What matchers compare.")]
    routes: tuple[ResolvedRoute, ...]
    hidden_by: Annotated[
        str | None, _doc("`snooze`, `silence:<id>`, `maintenance:<name>` or `inhibition:<number>`.")
    ]


class LabelsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Labels of an alert that may not exist."""

    labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=2_000)]],
        Meta(max_length=50, description="For example `level`, `rule`, `environment`."),
    ]


class ShiftView(Struct, frozen=True):
    """Who is on call."""

    schedule: str
    person: str | None
    receiver: Annotated[str | None, _doc("None: the fallback of the on-call receiver.")]
    begins_at: Timestamp | None
    ends_at: Timestamp | None


class OnCallList(Struct, frozen=True):
    """Who is on call now, by schedule."""

    shifts: tuple[ShiftView, ...]

"""Notifications: routes with who is on call, and deliveries."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from msgspec import Struct

from auditflow.contract.level import Level
from auditflow.contract.notification import RouteView, Routing
from auditflow.telemetry import logs
from event_audit_dashboard.apis.notifications import NotificationsApi
from event_audit_dashboard.errors import Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.localization.translation import N_, Texts, gettext
from event_audit_dashboard.presentation.badges import DELIVERY
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.views.common import caller, notify, person

#: Labels that the form "where would this go?" offers.
LABELS: Final = Texts(
    {
        "level": N_("Level"),
        "environment": N_("Environment"),
        "rule": N_("Rule"),
        "actor": N_("User"),
        "host": N_("Host"),
        "client_ip": N_("Address"),
        "tags": N_("Tags"),
    }
)
#: What caused a notification.
KINDS: Final = Texts(
    {
        "alerts": N_("New alerts"),
        "escalation": N_("Escalation"),
        "reminder": N_("Reminder"),
        "digest": N_("Digest"),
        "test": N_("Test"),
    }
)
MAX_VALUE: Final = 2_000
_REJECTED: Final = (Conflict, FilterRejected, NotAllowed, NotFound)
_log = logs.get(__name__)


class RouteNode(Struct):
    """A route and its sub-routes. ``selected`` routes receive the alert of the form."""

    route: RouteView
    selected: bool
    children: list["RouteNode"]


def blueprint(api: NotificationsApi) -> Blueprint:
    """``/notifications``, ``/notifications/deliveries`` and their forms."""
    pages = Blueprint("notifications", __name__)

    @pages.get("/notifications")
    def routes() -> ResponseReturnValue:
        labels = {
            name: request.args.get(name, "").strip()[:MAX_VALUE]
            for name in LABELS
            if request.args.get(name, "").strip()
        }
        routing = api.routing(caller())
        resolved = api.resolve(labels, caller()) if labels else None
        return render_template(
            "notifications.html",
            routing=routing,
            tree=tree(routing.routes, resolved),
            shifts=api.on_call(caller()).shifts,
            labels=labels,
            names=list(LABELS),
            label_names=LABELS,
            levels=[str(level) for level in reversed(Level)],
            resolved=resolved,
        )

    @pages.post("/notifications/test")
    def send_test() -> ResponseReturnValue:
        receiver = request.form.get("receiver", "")[:63]
        try:
            queued = api.send_test(receiver, caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
            return redirect(url_for("notifications.routes"), 303)
        _log.info("test notification queued", receiver=receiver, user=person())
        notify(
            gettext(
                "A test notification to %(receiver)s is queued. The newest row shows its delivery.",
                receiver=receiver,
            )
        )
        del queued
        return redirect(url_for("notifications.deliveries", receiver=receiver), 303)

    @pages.get("/notifications/deliveries")
    def deliveries() -> ResponseReturnValue:
        criteria = {
            name: value
            for name in ("status", "receiver", "alert_id", "after")
            if (value := request.args.get(name, "").strip())
        }
        page = api.deliveries(criteria, caller())
        receivers = [receiver.name for receiver in api.routing(caller()).receivers]
        filters = {name: value for name, value in criteria.items() if name != "after"}
        return render_template(
            "deliveries.html",
            page=page,
            criteria=criteria,
            receivers=receivers,
            statuses=DELIVERY,
            kinds=KINDS,
            next_url=_page_url({**filters, "after": str(page.next_after)})
            if page.next_after
            else None,
            first_url=_page_url(filters) if "after" in criteria else None,
            back=request.full_path.rstrip("?"),
        )

    @pages.post("/notifications/<uuid:notification_id>/retry")
    def retry(notification_id: object) -> ResponseReturnValue:
        try:
            api.retry(str(notification_id), caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("notification retried", id=str(notification_id), user=person())
            notify(gettext("The notification is sent again."))
        return redirect(url_for("notifications.deliveries"), 303)

    return pages


def tree(routes: Sequence[RouteView], resolved: Routing | None) -> list[RouteNode]:
    """The routes as a tree. The API lists them in the order of the file, with their depth."""
    wanted = [] if resolved is None else [(r.receiver, r.matchers) for r in resolved.routes]
    roots: list[RouteNode] = []
    path: list[RouteNode] = []
    for route in routes:
        node = RouteNode(route, (route.receiver, route.matchers) in wanted, [])
        del path[route.depth :]
        (path[-1].children if path else roots).append(node)
        path.append(node)
    return roots


def _page_url(parameters: dict[str, str]) -> str:
    path = url_for("notifications.deliveries")
    return f"{path}?{urlencode(parameters)}" if parameters else path

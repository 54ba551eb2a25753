"""Actions on alerts: from the list, from the page of an alert, and their undo."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from auditflow.contract.access import Role
from auditflow.telemetry import logs
from event_audit_dashboard import actions
from event_audit_dashboard import query as queries
from event_audit_dashboard.access import auth
from event_audit_dashboard.actions import Command, InvalidForm
from event_audit_dashboard.apis.administration import AdminApi
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.localization.translation import gettext, ngettext
from event_audit_dashboard.presentation.text import sentence, shorten
from event_audit_dashboard.views.common import caller, notify, person

#: Time for which all users share the list of people, in seconds.
PEOPLE_SECONDS: Final = 5.0
#: Maximum number of people in the list.
MAX_PEOPLE: Final = 1_000
_log = logs.get(__name__)
#: Errors that concern the action and not the API as such. They are shown on the page.
_REJECTED = (Conflict, FilterRejected, NotAllowed, NotFound)


def blueprint(api: NotificationService, administrators: AdminApi) -> Blueprint:
    """``POST /alerts/actions``, ``POST /alerts/<id>/actions`` and ``POST /alerts/undo``.

    ``GET /alerts/people`` lists the people that an alert can be assigned to.
    """
    pages = Blueprint("triage", __name__)
    all_people: TimedCache[list[str]] = TimedCache(seconds=PEOPLE_SECONDS)

    @pages.get("/alerts/people")
    def people() -> ResponseReturnValue:
        names = all_people.get("", lambda: _assignable(administrators))
        return render_template("people.html", names=names)

    @pages.post("/alerts/actions")
    def act_on_list() -> ResponseReturnValue:
        back = _back(url_for("alerts.listing"))
        with _show_rejection():
            _act_on_list(api, _command())
        return redirect(back, 303)

    @pages.post("/alerts/<uuid:alert_id>/actions")
    def act_on_alert(alert_id: object) -> ResponseReturnValue:
        identifier = str(alert_id)
        back = _back(url_for("alert.detail", alert_id=identifier))
        with _show_rejection():
            command = _command()
            version = request.form.get("version", "")
            api.act(
                identifier,
                command.action,
                caller(),
                version=int(version) if version.isascii() and version.isdigit() else None,
                body=command.fields,
            )
            _log.info("alert changed", alert_id=identifier, action=command.action, user=person())
            notify(command.done(1), undo={"alert_id": identifier})
        return redirect(back, 303)

    @pages.post("/alerts/undo")
    def undo() -> ResponseReturnValue:
        back = _back(url_for("alerts.listing"))
        bulk_id, alert_id = request.form.get("bulk_id", ""), request.form.get("alert_id", "")
        with _show_rejection():
            if bulk_id:
                result = api.undo_bulk(bulk_id, caller())
                text = ngettext(
                    "Undone for %(count)s alert.", "Undone for %(count)s alerts.", result.changed
                )
                if result.failed:
                    text += " " + ngettext(
                        "%(count)s alert was changed after the action and was not restored.",
                        "%(count)s alerts were changed after the action and were not restored.",
                        result.failed,
                    )
                notify(text)
            elif alert_id:
                api.undo(alert_id, caller())
                notify(gettext("Undone"))
            _log.info("action undone", bulk_id=bulk_id, alert_id=alert_id, user=person())
        return redirect(back, 303)

    return pages


def _assignable(administrators: AdminApi) -> list[str]:
    """The names of the people who triage alerts."""
    users = administrators.users(caller()).users
    names = [user.name for user in users if user.role is not Role.VIEWER and not user.disabled]
    return names[:MAX_PEOPLE]


@contextmanager
def _show_rejection() -> Iterator[None]:
    """Show an error of the action as a message on the next page."""
    try:
        yield
    except InvalidForm as error:
        notify(str(error), error=True)
    except _REJECTED as error:
        notify(sentence(error), error=True)


def _command() -> Command:
    return actions.parse(request.form, person=person(), now=dt.datetime.now(dt.UTC))


def _act_on_list(api: NotificationService, command: Command) -> None:
    if request.form.get("scope") == "filter":
        parameters = _list_query().api_filter(now=dt.datetime.now(dt.UTC))
        result = api.act_on_filter(parameters, command.action, caller(), **command.fields)
    else:
        selected = request.form.getlist("id")
        if not selected:
            raise InvalidForm(gettext("Select at least one alert."))
        result = api.act_on_selection(selected, command.action, caller(), **command.fields)
    text = command.done(result.changed)
    if result.failed:
        reason = f": {result.failures[0].reason}" if result.failures else ""
        text += "; " + ngettext(
            "not possible for %(count)s alert", "not possible for %(count)s alerts", result.failed
        )
        text += shorten(reason, 200)
    if result.more:
        text += "; " + gettext("more alerts match the filter. Repeat the action for the rest")
    _log.info(
        "alerts changed", action=command.action, changed=result.changed, failed=result.failed,
        bulk_id=str(result.bulk_id), user=person(),
    )  # fmt: skip
    undo = {"bulk_id": str(result.bulk_id)} if result.changed else None
    notify(text, undo=undo, error=not result.changed)


def list_query(text: str) -> queries.Parsed:
    """The filter in the query of a list's URL."""
    return queries.parse(MultiDict(parse_qsl(text)))


def _list_query() -> queries.Query:
    parsed = list_query(request.form.get("query", ""))
    if parsed.problems:
        raise InvalidForm(gettext("The filter is invalid. Nothing was changed."))
    return parsed.query


def _back(default: str) -> str:
    target = request.form.get("back")
    return auth.safe_redirect(target) if target else default

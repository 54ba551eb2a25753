"""Silences: the list, one silence, the form with its preview, and the silence of an alert."""

import datetime as dt
from typing import Final

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract.notification import HiddenAlerts
from auditflow.telemetry import logs
from event_audit_dashboard import silence_form
from event_audit_dashboard.actions import InvalidForm
from event_audit_dashboard.apis.notifications import NotificationsApi
from event_audit_dashboard.errors import Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.localization import zones
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.views.common import caller, notify, person

#: Hidden alerts that a page lists.
MAX_LISTED: Final = 100
_REJECTED: Final = (Conflict, FilterRejected, NotAllowed, NotFound)
_log = logs.get(__name__)


def blueprint(api: NotificationsApi) -> Blueprint:
    """``/silences`` and ``/alerts/<id>/silence``."""
    pages = Blueprint("silences", __name__)

    @pages.get("/silences")
    def listing() -> ResponseReturnValue:
        found = api.silences(caller(), after=request.args.get("after", ""))
        return render_template(
            "silences.html", silences=found.silences, next_after=found.next_after
        )

    @pages.get("/silences/<uuid:silence_id>")
    def detail(silence_id: object) -> ResponseReturnValue:
        silence = api.silence(str(silence_id), caller())
        hidden = api.hidden_alerts(str(silence_id), caller())
        return render_template(
            "silence.html", silence=silence, hidden=hidden, max_listed=MAX_LISTED
        )

    @pages.get("/silences/new")
    def new() -> ResponseReturnValue:
        form = silence_form.read(request.args)
        hidden: HiddenAlerts | None = None
        error = None
        if request.args.get("preview"):
            try:
                silence_request = silence_form.preview_request(form, time_zone=zones.name())
                hidden = api.preview_silence(silence_request, caller())
            except (InvalidForm, *_REJECTED) as problem:
                error = sentence(problem)
        return _form_page(form, hidden, error), 400 if error else 200

    @pages.post("/silences")
    def create() -> ResponseReturnValue:
        form = silence_form.read(request.form)
        try:
            silence_request = silence_form.create_request(
                form, now=dt.datetime.now(dt.UTC), time_zone=zones.name()
            )
            silence = api.create_silence(silence_request, caller())
        except (InvalidForm, *_REJECTED) as problem:
            return _form_page(form, None, sentence(problem)), 400
        _log.info("silence created", silence_id=str(silence.silence_id), user=person())
        notify(gettext("The silence is created."))
        return redirect(url_for("silences.detail", silence_id=silence.silence_id), 303)

    @pages.post("/silences/<uuid:silence_id>/end")
    def end(silence_id: object) -> ResponseReturnValue:
        try:
            api.end_silence(str(silence_id), caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("silence ended", silence_id=str(silence_id), user=person())
            notify(
                gettext(
                    "The silence has ended. "
                    "Notifications about its alerts are sent if the alerts are still open."
                )
            )
        return redirect(url_for("silences.listing"), 303)

    _add_silence_of_alert(pages, api)
    return pages


def _add_silence_of_alert(pages: Blueprint, api: NotificationsApi) -> None:
    @pages.get("/alerts/<uuid:alert_id>/silence")
    def of_alert(alert_id: object) -> ResponseReturnValue:
        return _alert_page(str(alert_id), None), 200

    @pages.post("/alerts/<uuid:alert_id>/silence")
    def silence_alert(alert_id: object) -> ResponseReturnValue:
        identifier = str(alert_id)
        reason = request.form.get("reason", "").strip()
        duration = request.form.get("duration", "")
        if not reason:
            return _alert_page(identifier, gettext("Enter the reason.")), 400
        fields = {"reason": reason, **({"duration": duration} if duration else {})}
        try:
            silence = api.silence_alert(identifier, fields, caller())
        except _REJECTED as error:
            return _alert_page(identifier, sentence(error)), 400
        _log.info("alert silenced", alert_id=identifier, user=person())
        until = silence.ends_at
        notify(
            gettext("Silenced until the alert is resolved.")
            if until is None
            else gettext("Silenced.")
        )
        return redirect(url_for("alert.detail", alert_id=identifier), 303)

    def _alert_page(alert_id: str, error: str | None) -> str:
        matchers = silence_form.matchers_of_alert(api.route_of_alert(alert_id, caller()).labels)
        hidden = api.preview_silence(
            {"matchers": matchers, "days": silence_form.PREVIEW_DAYS}, caller()
        )
        return render_template(
            "silence_alert.html",
            alert_id=alert_id,
            matchers=matchers,
            hidden=hidden,
            durations=silence_form.DURATIONS,
            days=silence_form.PREVIEW_DAYS,
            error=error,
            reason=request.form.get("reason", ""),
            max_listed=MAX_LISTED,
        )


def _form_page(
    form: silence_form.SilenceForm, hidden: HiddenAlerts | None, error: str | None
) -> str:
    return render_template(
        "silence_new.html",
        form=form,
        hidden=hidden,
        error=error,
        durations=silence_form.DURATIONS,
        days=silence_form.PREVIEW_DAYS,
        time_zone=zones.name(),
        max_listed=MAX_LISTED,
    )

"""Saving and deleting views of the alert list."""

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract.saved_view import MAX_VIEW_NAME
from auditflow.telemetry import logs
from event_audit_dashboard.access import auth
from event_audit_dashboard.errors import Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.presentation.text import sentence, visible
from event_audit_dashboard.saved_views import SavedViews, query_of
from event_audit_dashboard.views.alerts import link
from event_audit_dashboard.views.common import caller, notify, person
from event_audit_dashboard.views.triage import list_query

_REJECTED = (Conflict, FilterRejected, NotAllowed, NotFound)
_log = logs.get(__name__)


def blueprint(views: SavedViews) -> Blueprint:
    """``/alerts/views`` and its forms."""
    pages = Blueprint("saved_views", __name__)

    @pages.get("/alerts/views")
    def listing() -> ResponseReturnValue:
        found = [(view, link(query_of(view))) for view in views.visible(caller())]
        if request.args.get("format") == "json":
            shown = [{"name": visible(view.name), "url": url} for view, url in found]
            response = jsonify(shown)
            response.headers["Cache-Control"] = "no-store"
            return response
        return render_template("saved_views.html", views=found)

    @pages.post("/alerts/views")
    def save() -> ResponseReturnValue:
        name = request.form.get("name", "").strip()
        parsed = list_query(request.form.get("query", ""))
        back = redirect(link(parsed.query.first_page()), 303)
        if parsed.problems:
            notify(gettext("The filter is invalid. Nothing was saved."), error=True)
            return back
        if not 0 < len(name) <= MAX_VIEW_NAME or not name.isprintable():
            notify(
                gettext("Enter a name of 1 to %(count)s characters.", count=MAX_VIEW_NAME),
                error=True,
            )
            return back
        shared = request.form.get("shared") == "yes"
        try:
            views.save(name, parsed.query, caller(), shared=shared)
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("view saved", name=name, shared=shared, user=person())
            if shared:
                notify(gettext("The view %(name)s is saved and shared.", name=name))
            else:
                notify(gettext("The view %(name)s is saved.", name=name))
        return back

    @pages.post("/alerts/views/<uuid:view_id>/delete")
    def delete(view_id: object) -> ResponseReturnValue:
        try:
            views.delete(str(view_id), caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("view deleted", view_id=str(view_id), user=person())
            notify(gettext("The view is deleted."))
        target = request.form.get("back")
        return redirect(auth.safe_redirect(target) if target else url_for(".listing"), 303)

    return pages

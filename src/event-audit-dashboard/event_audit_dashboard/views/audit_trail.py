"""The audit trail: what people and tokens did, and the proof that it is complete."""

from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract.audit import AuditLogSummary
from event_audit_dashboard.apis.administration import AdminApi
from event_audit_dashboard.errors import ApiError, NotAllowed
from event_audit_dashboard.localization.translation import N_, Texts, gettext
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.views.common import caller

FILTERS: Final = Texts(
    {
        "actor": N_("Person or token"),
        "action": N_("Action"),
        "target": N_("About"),
        "address": N_("Address"),
    }
)
OUTCOMES: Final = Texts(
    {
        "done": N_("Done"),
        "refused": N_("Refused"),
        "failed": N_("Failed"),
    }
)
ACTORS: Final = Texts({"person": N_("person"), "token": N_("token"), "unknown": N_("unknown")})
#: The logs by their names in the API.
LOGS: Final = Texts(
    {
        "history": N_("History of alerts"),
        "trail": N_("Audit trail"),
        "findings": N_("Findings"),
        "files": N_("Archived files"),
    }
)
MAX_TEXT: Final = 500


def blueprint(api: AdminApi) -> Blueprint:
    """``/audit`` and ``/audit/proof``."""
    pages = Blueprint("audit", __name__)

    @pages.get("/audit")
    def trail() -> ResponseReturnValue:
        names = (*FILTERS, "outcome", "since", "until", "before")
        criteria = {
            name: value
            for name in names
            if (value := request.args.get(name, "").strip()[:MAX_TEXT])
        }
        try:
            page = api.trail(criteria, caller())
        except NotAllowed as error:
            return _not_allowed(error)
        filters = {name: value for name, value in criteria.items() if name != "before"}
        older = None
        if page.next_before is not None:
            older = _url({**filters, "before": str(page.next_before)})
        return render_template(
            "audit.html",
            entries=page.entries,
            criteria=criteria,
            filters=FILTERS,
            outcomes=OUTCOMES,
            actor_kinds=ACTORS,
            older=older,
            newest=_url(filters) if "before" in criteria else None,
        )

    @pages.get("/audit/proof")
    def proof() -> ResponseReturnValue:
        try:
            logs = api.logs(caller()).logs
        except NotAllowed as error:
            return _not_allowed(error)
        return render_template(
            "audit_proof.html",
            logs=[(log, _checkpoint(log) if log.size else "") for log in logs],
            titles=LOGS,
        )

    def _checkpoint(log: AuditLogSummary) -> str:
        try:
            return api.checkpoint(log.name, caller())
        except ApiError as error:
            return error.text

    return pages


def _url(parameters: dict[str, str]) -> str:
    path = url_for("audit.trail")
    return f"{path}?{urlencode(parameters)}" if parameters else path


def _not_allowed(error: NotAllowed) -> ResponseReturnValue:
    return render_template(
        "error.html",
        code=403,
        title=gettext("Not permitted"),
        message=sentence(error),
        reference="",
    ), 403

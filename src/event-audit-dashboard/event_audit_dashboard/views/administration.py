"""Users, tokens and receivers, for those whose role permits it."""

from typing import Final

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.contract.access import IssuedToken, Role
from auditflow.telemetry import logs
from event_audit_dashboard.apis.administration import AdminApi
from event_audit_dashboard.errors import ApiError, Conflict, FilterRejected, NotAllowed, NotFound
from event_audit_dashboard.localization.translation import N_, Texts, gettext
from event_audit_dashboard.presentation.badges import ROLE
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.views.common import caller, notify, person

SCOPES: Final = Texts(
    {
        "alerts:read": N_("Read alerts"),
        "alerts:write": N_("Triage alerts"),
        "audit:read": N_("Read the audit trail"),
        "admin": N_("Administration"),
    }
)
LIFETIMES: Final = (7, 30, 90, 365)
_REJECTED: Final = (Conflict, FilterRejected, NotAllowed, NotFound)
_log = logs.get(__name__)


def blueprint(api: AdminApi) -> Blueprint:
    """``/settings/users`` and ``/settings/tokens``."""
    pages = Blueprint("administration", __name__)

    @pages.get("/settings/users")
    def users() -> ResponseReturnValue:
        return render_template("users.html", users=api.users(caller()).users, roles=list(Role))

    @pages.post("/settings/users")
    def put_user() -> ResponseReturnValue:
        name, role = request.form.get("name", "").strip()[:200], request.form.get("role", "")
        if not name or role not in list(Role):
            notify(gettext("Enter a name and select a role."), error=True)
            return redirect(url_for("administration.users"), 303)
        disabled = request.form.get("disabled") == "yes"
        if name == person() and (disabled or role != Role.ADMIN):
            notify(gettext("You cannot remove your own role of admin."), error=True)
            return redirect(url_for("administration.users"), 303)
        try:
            api.put_user(name, Role(role), caller(), disabled=disabled)
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("user changed", name=name, role=role, disabled=disabled, user=person())
            notify(
                gettext("%(name)s is disabled.", name=name)
                if disabled
                else gettext("%(name)s has the role %(role)s.", name=name, role=ROLE[role])
            )
        return redirect(url_for("administration.users"), 303)

    _add_tokens(pages, api)
    return pages


def _add_tokens(pages: Blueprint, api: AdminApi) -> None:
    @pages.get("/settings/tokens")
    def tokens() -> ResponseReturnValue:
        return _tokens_page(api)

    @pages.post("/settings/tokens")
    def issue_token() -> ResponseReturnValue:
        name = request.form.get("name", "").strip()[:200]
        scopes = [scope for scope in request.form.getlist("scope") if scope in SCOPES]
        days = request.form.get("days", "")
        if not name or not scopes or days not in {str(each) for each in LIFETIMES}:
            notify(
                gettext("Enter a name, and select the permissions and the lifetime of the token."),
                error=True,
            )
            return redirect(url_for("administration.tokens"), 303)
        try:
            issued = api.issue_token(name, scopes, int(days), caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
            return redirect(url_for("administration.tokens"), 303)
        _log.info("token issued", name=name, scopes=scopes, user=person())
        # The secret is shown in this response only. It is stored nowhere.
        return _tokens_page(api, issued)

    @pages.post("/settings/tokens/<uuid:token_id>/revoke")
    def revoke_token(token_id: object) -> ResponseReturnValue:
        try:
            api.revoke_token(str(token_id), caller())
        except _REJECTED as error:
            notify(sentence(error), error=True)
        else:
            _log.info("token revoked", token_id=str(token_id), user=person())
            notify(gettext("The token is revoked."))
        return redirect(url_for("administration.tokens"), 303)


def _tokens_page(api: AdminApi, issued: IssuedToken | None = None) -> ResponseReturnValue:
    try:
        tokens = api.tokens(caller()).tokens
    except NotAllowed as error:
        return render_template(
            "tokens.html", tokens=None, reason=sentence(error), issued=None, scopes=SCOPES,
            lifetimes=LIFETIMES,
        ), 403  # fmt: skip
    except ApiError:
        if issued is None:
            raise
        tokens = (issued.token,)  # the secret must be shown, because it is shown only once
    return render_template(
        "tokens.html", tokens=tokens, reason="", issued=issued, scopes=SCOPES, lifetimes=LIFETIMES
    )

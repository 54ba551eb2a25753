"""Sign-in through the identity provider, and its back-channel logout."""

from typing import Final

from flask import Blueprint, Response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from auditflow.telemetry import logs
from event_audit_dashboard.access import auth
from event_audit_dashboard.access.audit_reports import Reports
from event_audit_dashboard.access.oidc import (
    InvalidLogoutToken,
    OidcProvider,
    ProviderUnavailable,
    SignInRefused,
)
from event_audit_dashboard.access.roles import Disabled, Roles
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.metrics import Metrics

_NEXT: Final = "sso_next"
#: Sign-ins that this browser has started and not finished. More would make the cookie too large.
_MAX_PENDING: Final = 3
_log = logs.get(__name__)


def blueprint(
    provider: OidcProvider,
    metrics: Metrics,
    *,
    sessions: auth.Sessions,
    roles: Roles,
    reports: Reports,
) -> Blueprint:
    """``/oidc/login``, ``/oidc/callback`` and ``/oidc/logout``."""
    pages = Blueprint("oidc", __name__)

    @pages.get("/oidc/login")
    def start() -> ResponseReturnValue:
        pending = [name for name in session if name.startswith("_state_oidc_")]
        for name in pending[: max(0, len(pending) - _MAX_PENDING + 1)]:
            session.pop(name)
        session[_NEXT] = auth.safe_redirect(request.args.get("next"))
        try:
            return provider.redirect(url_for("oidc.callback", _external=True))
        except ProviderUnavailable as error:
            return _unavailable(error)

    @pages.get("/oidc/callback")
    def callback() -> ResponseReturnValue:
        target = auth.safe_redirect(session.pop(_NEXT, None))
        address = request.remote_addr or ""
        try:
            identity = provider.identity()
            role = roles.of_identity(identity.name, identity.role)
        except ProviderUnavailable as error:
            return _unavailable(error)
        except (SignInRefused, Disabled) as error:
            metrics.sign_ins.labels("refused").inc()
            _log.warning("sign-in refused", address=address, reason=str(error))
            reports.report("sign-in refused", "single sign-on", address, outcome="refused")
            return _page(error.text), 403
        metrics.sign_ins.labels("accepted").inc()
        _log.info("signed in", user=identity.name, address=address, provider=True)
        reports.report("sign-in accepted", identity.name, address)
        sessions.start(identity.name, role, subject=identity.subject, sid=identity.sid)
        return redirect(target, 303)

    @pages.post("/oidc/logout")
    def logout() -> ResponseReturnValue:
        """The provider ends sessions. The signature of its token authenticates the request."""
        headers = {"Cache-Control": "no-store"}
        try:
            ended = provider.logout(request.form.get("logout_token", ""))
        except InvalidLogoutToken as error:
            _log.warning("logout token rejected", reason=str(error))
            return Response("invalid logout_token", 400, headers, content_type="text/plain")
        except ProviderUnavailable as error:
            _log.warning("identity provider unavailable", reason=str(error))
            return Response("keys unavailable", 503, headers, content_type="text/plain")
        if not sessions.first_use(f"logout {ended.token_id}", ended.expires_in):
            return Response("repeated logout_token", 400, headers, content_type="text/plain")
        number = sessions.end_of_identity(subject=ended.subject, sid=ended.sid)
        _log.info("sessions ended by the identity provider", sessions=number)
        return Response("", 200, headers, content_type="text/plain")

    return pages


def _unavailable(error: ProviderUnavailable) -> ResponseReturnValue:
    _log.warning("identity provider unavailable", reason=str(error))
    return _page(
        gettext("The identity provider cannot be reached. Try again, or use a local account.")
    ), 503


def _page(error: str) -> str:
    return render_template("login.html", error=error, user_name="", next=None, reason=None)

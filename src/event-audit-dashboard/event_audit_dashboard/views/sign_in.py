"""Sign-in and sign-out."""

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from auditflow.http.middleware import correlation_id
from auditflow.telemetry import logs
from event_audit_dashboard.access import auth
from event_audit_dashboard.access.audit_reports import Reports
from event_audit_dashboard.access.local_sign_in import LocalSignIn, begin_second_step
from event_audit_dashboard.access.second_factors import SecondFactors
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.errors import NotAllowed
from event_audit_dashboard.localization.translation import gettext
from event_audit_dashboard.presentation import times

_log = logs.get(__name__)


def blueprint(
    account: auth.Account,
    sign_in: LocalSignIn,
    factors: SecondFactors,
    *,
    sessions: auth.Sessions,
    reports: Reports,
) -> Blueprint:
    """``/login`` and ``/logout``."""
    pages = Blueprint("sign_in", __name__)

    @pages.get("/login")
    def form() -> ResponseReturnValue:
        if g.user:
            return redirect(auth.safe_redirect(request.args.get("next")))
        return _page()

    @pages.post("/login")
    def submit() -> ResponseReturnValue:
        user = request.form.get("user", "")[:128]
        wait = sign_in.admit(user)
        if wait:
            error = gettext("Too many attempts. Try again in %(time)s.", time=times.wait(wait))
            return _page(error, user), 429, {"Retry-After": str(wait)}
        if not account.verify(user, request.form.get("password", "")[:1024]):
            sign_in.refuse(user)
            return _page(gettext("User or password is wrong."), user), 401
        try:
            is_enabled = factors.read(_caller(user)).enabled
        except NotAllowed:
            sign_in.refuse(user)
            return _page(gettext("An administrator has disabled your access."), user), 403
        if is_enabled or factors.mode == "required":
            begin_second_step(user)
            step = "second_factor.code" if is_enabled else "second_factor.first_setup"
            return redirect(url_for(step, next=request.args.get("next")), 303)
        sign_in.finish(user)
        return redirect(auth.safe_redirect(request.args.get("next")), 303)

    @pages.post("/logout")
    def sign_out() -> ResponseReturnValue:
        if request.form.get("scope") == "all":
            number = sessions.end_all(g.user)
            _log.info("all sessions ended", user=g.user, sessions=number)
            reports.report("sessions ended", g.user, request.remote_addr or "")
        _log.info("signed out", user=g.user)
        reports.report("signed out", g.user, request.remote_addr or "")
        sessions.end()
        return redirect(url_for("sign_in.form", ended="signed-out"), 303)

    return pages


def handle_invalid_form(error: CSRFError) -> ResponseReturnValue | None:
    """The response to a sign-in form with an outdated token, None for other forms.

    A sign-in in another tab outdates the form of this tab.
    """
    del error
    if request.endpoint != "sign_in.submit":
        return None
    if g.user:
        return redirect(auth.safe_redirect(request.args.get("next")), 303)
    message = gettext("The sign-in page was outdated. Enter your password again.")
    return _page(message, request.form.get("user", "")[:128]), 400


def _page(error: str | None = None, user: str = "") -> str:
    return render_template(
        "login.html",
        error=error,
        user_name=user,
        next=request.args.get("next"),
        reason=auth.ENDED.get(request.args.get("ended", "")),
    )


def _caller(user: str) -> Caller:
    return Caller(
        person=user, correlation_id=correlation_id(request.environ), address=request.remote_addr
    )

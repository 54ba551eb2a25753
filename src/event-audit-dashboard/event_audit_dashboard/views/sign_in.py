"""Sign-in and sign-out."""

import math

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from auditflow.telemetry import logs
from event_audit_dashboard import auth
from event_audit_dashboard.audit_reports import Reports
from event_audit_dashboard.login_throttle import LoginThrottle
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.presentation.text import plural
from event_audit_dashboard.roles import Roles

_log = logs.get(__name__)


def blueprint(
    account: auth.Account,
    metrics: Metrics,
    *,
    sessions: auth.Sessions,
    throttle: LoginThrottle,
    roles: Roles,
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
        address = request.remote_addr or ""
        wait = throttle.admit(address, user)
        if wait:
            metrics.sign_ins.labels("throttled").inc()
            _log.warning("sign-in throttled", user=user, address=address, wait_seconds=wait)
            reports.report("sign-in throttled", user, address, outcome="refused")
            error = f"Too many attempts. Try again in {_duration(wait)}."
            return _page(error, user), 429, {"Retry-After": str(wait)}
        if not account.verify(user, request.form.get("password", "")[:1024]):
            metrics.sign_ins.labels("refused").inc()
            _log.warning("sign-in refused", user=user, address=address)
            reports.report("sign-in refused", user, address, outcome="refused")
            return _page("User or password is wrong.", user), 401
        throttle.reset(address, user)
        metrics.sign_ins.labels("accepted").inc()
        _log.info("signed in", user=user, address=address)
        reports.report("sign-in accepted", user, address)
        sessions.start(user, roles.make_admin(user))
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
    message = "The sign-in page was outdated. Enter your password again."
    return _page(message, request.form.get("user", "")[:128]), 400


def _page(error: str | None = None, user: str = "") -> str:
    return render_template(
        "login.html",
        error=error,
        user_name=user,
        next=request.args.get("next"),
        reason=auth.ENDED.get(request.args.get("ended", "")),
    )


def _duration(seconds: int) -> str:
    return plural(seconds, "second") if seconds < 90 else plural(math.ceil(seconds / 60), "minute")

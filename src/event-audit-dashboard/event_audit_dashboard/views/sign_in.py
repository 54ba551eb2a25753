"""Sign-in and sign-out."""

import math
import time

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.telemetry import logs
from event_audit_dashboard import auth, login_throttle
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.presentation.text import plural


def blueprint(account: auth.Account, metrics: Metrics) -> Blueprint:
    """``/login`` and ``/logout``."""
    pages = Blueprint("sign_in", __name__)
    throttle = login_throttle.LoginThrottle()
    log = logs.get(__name__)

    @pages.get("/login")
    def form() -> ResponseReturnValue:
        if g.user:
            return redirect(auth.safe_redirect(request.args.get("next")))
        return _page()

    @pages.post("/login")
    def submit() -> ResponseReturnValue:
        user = request.form.get("user", "")[:128]
        address = request.remote_addr or ""
        attempt = login_throttle.keys(address, user)
        wait = math.ceil(throttle.admit(attempt, now=time.monotonic()))
        if wait:
            metrics.sign_ins.labels("throttled").inc()
            log.warning("sign-in throttled", address=address, wait_seconds=wait)
            return _page(f"Too many attempts. Try again in {_duration(wait)}.", user), 429, {
                "Retry-After": str(wait)
            }  # fmt: skip
        if not account.verify(user, request.form.get("password", "")[:1024]):
            metrics.sign_ins.labels("refused").inc()
            log.warning("sign-in refused", address=address)
            return _page("User or password is wrong.", user), 401
        throttle.forgive(attempt)
        metrics.sign_ins.labels("accepted").inc()
        log.info("signed in", user=user, address=address)
        auth.sign_in(user)
        return redirect(auth.safe_redirect(request.args.get("next")), 303)

    @pages.post("/logout")
    def sign_out() -> ResponseReturnValue:
        log.info("signed out", user=g.user)
        auth.sign_out()
        return redirect(url_for("sign_in.form"), 303)

    return pages


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

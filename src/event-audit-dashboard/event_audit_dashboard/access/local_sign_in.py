"""The steps of a sign-in with a local account, with its throttle, metrics and reports."""

import time
from typing import Any, Final

from flask import request, session

from auditflow.telemetry import logs
from event_audit_dashboard.access import auth
from event_audit_dashboard.access.audit_reports import Reports
from event_audit_dashboard.access.login_throttle import LoginThrottle
from event_audit_dashboard.access.roles import Roles
from event_audit_dashboard.access.throttled_attempts import ThrottledAttempts
from event_audit_dashboard.metrics import Metrics

#: Time to enter the code after the password, in seconds.
PENDING_SECONDS: Final = 300
_log = logs.get(__name__)


class LocalSignIn:
    """Counts attempts, and starts a session after the last step."""

    def __init__(
        self,
        *,
        sessions: auth.Sessions,
        throttle: LoginThrottle,
        roles: Roles,
        metrics: Metrics,
        reports: Reports,
    ) -> None:
        self._sessions = sessions
        self._throttle = throttle
        self._roles = roles
        self._metrics = metrics
        self._reports = reports
        self._throttled = ThrottledAttempts()

    def admit(self, user: str) -> int:
        """Count an attempt and return 0, or return the seconds until the next allowed attempt."""
        wait = self._throttle.admit(_address(), user)
        if wait:
            self._metrics.sign_ins.labels("throttled").inc()
            attempts = self._throttled.add(_address())
            if attempts:
                _log.warning("sign-in throttled", user=user, address=_address(), attempts=attempts)
                self._reports.report(
                    "sign-in throttled",
                    user,
                    _address(),
                    outcome="refused",
                    detail={"attempts": str(attempts)},
                )
        return wait

    def refuse(self, user: str) -> None:
        """Count and report a wrong password or code."""
        self._metrics.sign_ins.labels("refused").inc()
        _log.warning("sign-in refused", user=user, address=_address())
        self._reports.report("sign-in refused", user, _address(), outcome="refused")

    def forgive(self, user: str) -> None:
        """Do not count the attempts so far: the last one was correct."""
        self._throttle.reset(_address(), user)

    def finish(self, user: str) -> None:
        """Start the session, after all steps."""
        self.forgive(user)
        self._metrics.sign_ins.labels("accepted").inc()
        _log.info("signed in", user=user, address=_address())
        self._reports.report("sign-in accepted", user, _address())
        self._sessions.start(user, self._roles.make_admin(user))


def begin_second_step(user: str) -> None:
    """Store in the signed cookie that the password was correct."""
    session["pending"] = {"user": user, "until": time.time() + PENDING_SECONDS}


def pending_user() -> str | None:
    """The user whose password was correct, while the second step is allowed."""
    pending: Any = session.get("pending")
    if not isinstance(pending, dict) or time.time() >= pending.get("until", 0):
        return None
    return str(pending["user"])


def _address() -> str:
    return request.remote_addr or ""

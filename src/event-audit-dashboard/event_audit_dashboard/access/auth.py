"""Password check of the built-in account, sessions, and the access check before every page."""

import hashlib
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import argon2
from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from auditflow.contract.access import Role
from event_audit_dashboard.access.roles import Roles
from event_audit_dashboard.access.sessions import (
    SESSION_SECONDS,
    Session,
    SessionStore,
    identity_key,
)
from event_audit_dashboard.localization.translation import N_, Texts
from event_audit_dashboard.rendering.csrf import renew_token

#: Endpoints that need no session.
OPEN_ENDPOINTS: Final = frozenset(
    {
        "sign_in.form", "sign_in.submit", "assets.file",
        "second_factor.code", "second_factor.check_code",
        "second_factor.first_setup", "second_factor.first_confirm",
        "oidc.start", "oidc.callback", "oidc.logout",
        "operations.healthz", "operations.readyz", "operations.metrics",
    }
)  # fmt: skip
#: Why a session ended, by the value of ``ended`` in the URL of the sign-in page.
ENDED: Final = Texts(
    {
        "expired": N_("Your session has expired after 12 hours. Sign in again to continue."),
        "ended": N_(
            "Your session has ended: you or an administrator ended it, the password was changed, or"
            " the service was restarted. Sign in again to continue."
        ),
        "signed-out": N_("You have signed out."),
    }
)
#: Endpoints that scripts request. They get 401, because they cannot follow a redirect to a form.
SCRIPT_ENDPOINTS: Final = frozenset({"alerts.live", "alert.live", "status.show"})
#: 19 MiB and two passes: the OWASP recommendation for little memory.
_HASHER: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Account:
    """The built-in account. Only the hash of its password is kept in memory."""

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self._hash = _HASHER.hash(password)
        # glibc keeps freed memory per thread. If every server thread verified passwords, each of
        # them would keep 19 MiB. One verifier thread keeps it once.
        self._verifier = ThreadPoolExecutor(1, thread_name_prefix="verify")

    def verify(self, user: str, password: str) -> bool:
        """Return whether user and password are correct, in constant time."""
        correct = self._verifier.submit(self._verify_password, password).result()
        return hmac.compare_digest(user.encode(), self.user.encode()) and correct

    def _verify_password(self, password: str) -> bool:
        try:
            return _HASHER.verify(self._hash, password)
        except argon2.exceptions.VerificationError:
            return False


def signing_key(session_secret: str, user: str, password: str) -> bytes:
    """The key that signs session cookies. A changed password changes it and ends all sessions."""
    account = f"{len(user)}:{user}{password}".encode()
    return hmac.new(session_secret.encode(), account, hashlib.sha256).digest()


class Sessions:
    """Connects the cookie of a request with the session in the store."""

    def __init__(self, app: Flask, store: SessionStore, roles: Roles) -> None:
        self._store = store
        self._roles = roles
        app.before_request(self._require_session)

    def start(self, user: str, role: Role, *, subject: str = "", sid: str = "") -> None:
        """Start a new session. All data of the previous session are removed.

        ``subject`` and ``sid`` identify the user and the session at the identity provider.
        """
        self._end_current()
        session.clear()
        session.permanent = True
        session["id"] = self._store.start(Session(user, role, time.time(), subject, sid))
        session["until"] = int(time.time()) + SESSION_SECONDS
        renew_token()

    def end(self) -> None:
        """End the session, on the server and in this browser."""
        self._end_current()
        session.clear()

    def end_all(self, user: str | None = None) -> int:
        """End all sessions, or those of one user, in all browsers. Return their number."""
        return self._store.end_all(user)

    def end_of_identity(self, *, subject: str, sid: str) -> int:
        """End the sessions of a user, or of one session, of the identity provider."""
        return self._store.end_identity(identity_key(subject=subject, sid=sid))

    def first_use(self, value: str, seconds: int) -> bool:
        """Store a value for some seconds. False if it is stored already."""
        return self._store.first_use(value, seconds)

    def _end_current(self) -> None:
        identifier = session.get("id")
        if isinstance(identifier, str):
            self._store.end(identifier)

    def _require_session(self) -> BaseResponse | None:
        g.user, g.role = None, Role.VIEWER
        # Static files and probes need neither a session nor its store.
        if request.endpoint in OPEN_ENDPOINTS and not str(request.endpoint).startswith("sign_in."):
            return None
        identifier = session.get("id")
        current = self._store.get(identifier) if isinstance(identifier, str) else None
        if current is not None:
            g.user, g.role = current.user, self._roles.role(current)
        # Without an endpoint the page does not exist; the 404 needs no session.
        if g.user or request.endpoint is None or request.endpoint in OPEN_ENDPOINTS:
            return None
        if request.endpoint in SCRIPT_ENDPOINTS:
            return Response("sign-in required", 401, content_type="text/plain")
        return redirect(url_for("sign_in.form", next=_requested_page(), ended=_end_reason()))


class _CookieSessions(SecureCookieSessionInterface):
    """Flask's signed cookie. The serializer is created once, because the key does not change."""

    _serializer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """See ``SecureCookieSessionInterface``."""
        if self._serializer is None:
            self._serializer = super().get_signing_serializer(app)
        return self._serializer


def configure(app: Flask, *, key: bytes, cookie_secure: bool) -> None:
    """Configure the signed cookie. It lives longer than a session, to know that one has expired."""
    app.session_interface = _CookieSessions()
    app.config.update(
        SECRET_KEY=key,
        SESSION_COOKIE_NAME="__Host-auditflow" if cookie_secure else "auditflow",
        SESSION_COOKIE_SECURE=cookie_secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=2 * SESSION_SECONDS,
    )


def safe_redirect(target: str | None) -> str:
    """Return ``target`` if it is a path of this site, otherwise the start page."""
    start = url_for("home.start")
    if not target or not target.isprintable() or "\\" in target or len(target) > 4096:
        return start
    try:
        parts = urlsplit(target)
    except ValueError:
        return start
    if parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//"):
        return start
    excluded = {url_for("sign_in.form"), url_for("sign_in.sign_out")}
    return start if parts.path in excluded else target


def _requested_page() -> str | None:
    if request.method not in {"GET", "HEAD"}:
        return None
    target = request.full_path.rstrip("?")
    return target if target != "/" else None


def _end_reason() -> str | None:
    until = session.get("until")
    if isinstance(until, int):
        return "expired" if time.time() >= until else "ended"
    # A cookie with an invalid signature: the password or the secret was changed.
    had_cookie = current_app.config["SESSION_COOKIE_NAME"] in request.cookies
    return "ended" if had_cookie and not session else None

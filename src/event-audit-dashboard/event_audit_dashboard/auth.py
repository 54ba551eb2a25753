"""Password check, session, and the access check before every page."""

import hashlib
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import argon2
from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from auditflow.contract.alert import Role

#: Maximum age of a session, in seconds after sign-in. Activity does not extend it.
SESSION_SECONDS: Final = 12 * 60 * 60
#: Endpoints that need no session.
OPEN_ENDPOINTS: Final = frozenset(
    {
        "sign_in.form", "sign_in.submit", "assets.file",
        "operations.healthz", "operations.readyz", "operations.metrics",
    }
)  # fmt: skip
#: Why a session ended, by the value of ``ended`` in the URL of the sign-in page.
ENDED: Final = {
    "expired": "Your session has expired. Sign in again to continue.",
    "ended": "Your session has ended. Sign in again to continue.",
}
#: Endpoints that scripts request. They get 401, because they cannot follow a redirect to a form.
SCRIPT_ENDPOINTS: Final = frozenset({"alerts.live", "alert.live"})
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


def configure(app: Flask, *, key: bytes, cookie_secure: bool) -> None:
    """Configure signed session cookies and the access check."""
    app.config.update(
        SECRET_KEY=key,
        SESSION_COOKIE_NAME="__Host-auditflow" if cookie_secure else "auditflow",
        SESSION_COOKIE_SECURE=cookie_secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=SESSION_SECONDS,
    )
    app.before_request(_require_session)


def sign_in(user: str) -> None:
    """Start a new session. All data of the previous session are removed."""
    session.clear()
    session.permanent = True
    session["user"] = user
    session["since"] = int(time.time())


def sign_out() -> None:
    """End the session in this browser."""
    session.clear()


def user() -> str | None:
    """The name of the signed-in user, or None."""
    since = session.get("since")
    if not isinstance(since, int) or time.time() - since >= SESSION_SECONDS:
        return None
    name = session.get("user")
    return name if isinstance(name, str) else None


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


def _require_session() -> BaseResponse | None:
    g.user = user()
    g.role = Role.ADMIN if g.user else Role.VIEWER
    # Without an endpoint the page does not exist; the 404 needs no session.
    if g.user or request.endpoint is None or request.endpoint in OPEN_ENDPOINTS:
        return None
    if request.endpoint in SCRIPT_ENDPOINTS:
        return Response("sign-in required", 401, content_type="text/plain")
    target = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else None
    had_session = current_app.config["SESSION_COOKIE_NAME"] in request.cookies
    ended = "expired" if "user" in session else "ended" if had_session else None
    return redirect(url_for("sign_in.form", next=target if target != "/" else None, ended=ended))

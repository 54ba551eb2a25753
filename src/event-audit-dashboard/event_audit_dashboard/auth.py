"""Who may come in: the password, the session, and the gate before every page."""

import hashlib
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import argon2
from flask import Flask, Response, g, redirect, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

#: A session ends this long after sign-in, however busy it was.
SESSION_SECONDS: Final = 12 * 60 * 60
#: Pages that anybody may see.
OPEN_ENDPOINTS: Final = frozenset(
    {
        "sign_in.form", "sign_in.submit", "assets.file",
        "operations.healthz", "operations.readyz", "operations.metrics",
    }
)  # fmt: skip
#: Where scripts ask: they cannot follow a redirect to a form.
SCRIPT_ENDPOINTS: Final = frozenset({"alerts.live"})
#: 19 MiB and two passes, as OWASP advises where memory is scarce.
_HASHER: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Account:
    """The one account. It keeps the hash of its password only."""

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self._hash = _HASHER.hash(password)
        # glibc keeps what a thread once took for that thread: verifying on each of the server's
        # threads would in time hold 19 MiB for all of them. One thread holds it once.
        self._verifier = ThreadPoolExecutor(1, thread_name_prefix="verify")

    def admits(self, user: str, password: str) -> bool:
        """Whether the two belong together. Takes the same time whichever is wrong."""
        right = self._verifier.submit(self._verify, password).result()
        return hmac.compare_digest(user.encode(), self.user.encode()) and right

    def _verify(self, password: str) -> bool:
        try:
            return _HASHER.verify(self._hash, password)
        except argon2.exceptions.VerificationError:
            return False


def signing_key(session_secret: str, user: str, password: str) -> bytes:
    """The key of the session cookies. Another password is another key, which ends all sessions."""
    facts = f"{len(user)}:{user}{password}".encode()
    return hmac.new(session_secret.encode(), facts, hashlib.sha256).digest()


def configure(app: Flask, *, key: bytes, cookie_secure: bool) -> None:
    """Sessions in a signed cookie, and the gate."""
    app.config.update(
        SECRET_KEY=key,
        SESSION_COOKIE_NAME="__Host-auditflow" if cookie_secure else "auditflow",
        SESSION_COOKIE_SECURE=cookie_secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=SESSION_SECONDS,
    )
    app.before_request(_gate)


def sign_in(user: str) -> None:
    """Begin a new session; nothing of the one before survives."""
    session.clear()
    session.permanent = True
    session["user"] = user
    session["since"] = int(time.time())


def sign_out() -> None:
    """End the session in this browser."""
    session.clear()


def user() -> str | None:
    """Who is signed in, if anybody."""
    since = session.get("since")
    if not isinstance(since, int) or time.time() - since >= SESSION_SECONDS:
        return None
    name = session.get("user")
    return name if isinstance(name, str) else None


def own_path(wanted: str | None) -> str:
    """``wanted`` if it is a path of this site, else the first page."""
    first = url_for("alerts.listing")
    if not wanted or not wanted.isprintable() or "\\" in wanted or len(wanted) > 4096:
        return first
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return first
    if parts.scheme or parts.netloc or not wanted.startswith("/") or wanted.startswith("//"):
        return first
    return first if parts.path in {url_for("sign_in.form"), url_for("sign_in.leave")} else wanted


def _gate() -> BaseResponse | None:
    g.user = user()
    # No endpoint: there is no such page, which anybody may know.
    if g.user or request.endpoint is None or request.endpoint in OPEN_ENDPOINTS:
        return None
    if request.endpoint in SCRIPT_ENDPOINTS:
        return Response("sign in first", 401, content_type="text/plain")
    wanted = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else None
    return redirect(url_for("sign_in.form", next=wanted if wanted != "/" else None))

"""Masks the CSRF token in every response, so that compression does not reveal it.

The length of a compressed page depends on repeated text. Without a mask, an attacker who can add
text to a page and observe its length can find the token (BREACH). The token of Flask-WTF is the
same on every page. Here it is combined with random bytes that are different on every page.
"""

import base64
import binascii
import secrets
from functools import lru_cache
from typing import Final

from flask import Flask, current_app, g, session
from flask_wtf.csrf import CSRFProtect, generate_csrf

#: The name of the token in the session, and of the signed token in Flask's ``g``.
_KEY: Final = "csrf_token"
#: Number of signed tokens that are kept.
_MAX_SIGNED: Final = 1_000


class MaskedCSRFProtect(CSRFProtect):  # type: ignore[misc]
    """``CSRFProtect`` whose pages have masked tokens. Only masked tokens are accepted."""

    def init_app(self, app: Flask) -> None:
        """See ``CSRFProtect``."""
        super().init_app(app)
        app.jinja_env.globals["csrf_token"] = masked_token
        app.context_processor(lambda: {"csrf_token": masked_token})

    def _get_csrf_token(self) -> str | None:
        given = super()._get_csrf_token()
        return unmask(given) if given else None


def renew_token() -> None:
    """Give the session a new token, so that the first page need not send the cookie again."""
    session[_KEY] = secrets.token_hex(20)
    g.pop(_KEY, None)  # Flask-WTF keeps the signed token of this request here


def masked_token() -> str:
    """The CSRF token of the session, masked by random bytes that are new in each response."""
    kept = session.get(_KEY)
    # Without a time limit, the signed token of a session stays valid, so it is signed once.
    token = _signed(current_app.secret_key, kept) if isinstance(kept, str) else generate_csrf()
    masked: dict[str, str] = g.setdefault("masked_tokens", {})
    if token not in masked:
        masked[token] = mask(token)
    return masked[token]


@lru_cache(_MAX_SIGNED)
def _signed(secret_key: str | bytes | None, token: str) -> str:
    """The signed token of the current session. The arguments belong only to the key."""
    del secret_key, token
    return str(generate_csrf())


def mask(token: str) -> str:
    """Random bytes and the token combined with them by XOR, as base64."""
    content = token.encode()
    key = secrets.token_bytes(len(content))
    return base64.urlsafe_b64encode(key + _xor(key, content)).decode()


def unmask(masked: str) -> str | None:
    """The token of a masked token, or None if it is not one."""
    try:
        content = base64.urlsafe_b64decode(masked.encode("ascii"))
        half = len(content) // 2
        return _xor(content[:half], content[half:]).decode()
    except (ValueError, UnicodeError, binascii.Error):
        return None


def _xor(key: bytes, content: bytes) -> bytes:
    if len(key) != len(content):
        raise ValueError("the halves of a masked token have different lengths")
    number = int.from_bytes(key) ^ int.from_bytes(content)
    return number.to_bytes(len(content))

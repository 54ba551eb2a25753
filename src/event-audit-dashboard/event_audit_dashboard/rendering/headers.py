"""Security headers of every response."""

import secrets
from typing import Final

from flask import Flask, Response, g

#: ``{nonce}`` is new for each response. Only scripts with this nonce run, and what they import.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'nonce-{nonce}' 'strict-dynamic'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_POLICY_NAME: Final = "content-security-policy"
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The CSRF check over HTTPS needs the referrer of our own pages. Other sites get none.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
#: The name in lower-case letters, the name and the value of each header.
_OTHERS: Final = tuple((name.lower(), name, value) for name, value in _ALWAYS.items())


def nonce() -> str:
    """The nonce of the Content-Security-Policy of this response."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def add(app: Flask) -> None:
    """Add the headers to all responses, also to errors. A view may set its own Cache-Control."""

    @app.after_request
    def _add(response: Response) -> Response:
        headers = response.headers
        present = {name.lower() for name, _ in headers}
        if _POLICY_NAME not in present:
            headers.add("Content-Security-Policy", _POLICY.replace("{nonce}", nonce()))
        for lower, name, value in _OTHERS:
            if lower not in present:
                headers.add(name, value)
        return response

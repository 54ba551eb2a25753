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
_ALWAYS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The CSRF check over HTTPS needs the referrer of our own pages. Other sites get none.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def nonce() -> str:
    """The nonce of the Content-Security-Policy of this response."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def add(app: Flask) -> None:
    """Add the headers to all responses, also to errors. A view may set its own Cache-Control."""

    @app.after_request
    def _add(response: Response) -> Response:
        present = {name.lower() for name, _ in response.headers}
        for name, value in _ALWAYS.items():
            if name.lower() not in present:
                response.headers.add(name, value.replace("{nonce}", nonce()))
        return response

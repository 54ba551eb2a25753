"""Who may send events: whoever knows the token."""

import hmac

from flask import Request

from auditflow.problem import Problem


class Guard:
    """Compares bearer tokens (RFC 6750) in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def refuse(self, request: Request) -> tuple[bytes, int, dict[str, str]] | None:
        """None when the request carries the token, else the answer that says so."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            problem = Problem(
                401, "Unauthorized", "Send the ingest token: `Authorization: Bearer <token>`."
            )
            return problem.response(WWW_Authenticate='Bearer realm="auditflow"')
        # WSGI hands headers over as latin-1.
        if hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._token):
            return None
        problem = Problem(401, "Unauthorized", "The token is not the one that this service has.")
        return problem.response(WWW_Authenticate='Bearer realm="auditflow", error="invalid_token"')

"""Check the token of a request."""

from flask import Request

from auditflow.http.problem import Problem
from auditflow.http.tokens import Tokens


class TokenCheck:
    """Compares the token in constant time.

    The token is a bearer token (RFC 6750), or the password of any user (RFC 7617). A Kubernetes API
    server sends no bearer token over plain HTTP, only the user and password of the webhook's URL.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def refuse(self, request: Request) -> tuple[bytes, int, dict[str, str]] | None:
        """Return None if the request has the token, else the error response."""
        token = _token(request)
        if not token:
            problem = Problem(
                401, "Unauthorized", "Send the ingest token: `Authorization: Bearer <token>`."
            )
            return problem.response(WWW_Authenticate='Bearer realm="auditflow"')
        if self._tokens.matches(token):
            return None
        problem = Problem(401, "Unauthorized", "The token is not valid.")
        return problem.response(WWW_Authenticate='Bearer realm="auditflow", error="invalid_token"')


def _token(request: Request) -> bytes:
    """Return the token of the request; empty if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip().encode("latin-1", "replace")  # WSGI decodes headers as latin-1
    basic = request.authorization  # None also if it cannot be decoded
    if scheme.lower() == "basic" and basic is not None:
        return (basic.password or "").encode("utf-8", "surrogatepass")
    return b""

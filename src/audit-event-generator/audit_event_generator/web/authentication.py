"""Who may send events: whoever knows the token."""

from flask import Request

from auditflow.http.problem import Problem
from auditflow.http.tokens import Tokens


class Guard:
    """Compares the token in constant time, in either of the forms that senders can speak.

    A bearer token (RFC 6750), or the password of any user (RFC 7617): a Kubernetes API server puts
    no bearer token on plain HTTP, only what its webhook's URL says.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def refuse(self, request: Request) -> tuple[bytes, int, dict[str, str]] | None:
        """None when the request carries the token, else the answer that says so."""
        token = _token(request)
        if not token:
            problem = Problem(
                401, "Unauthorized", "Send the ingest token: `Authorization: Bearer <token>`."
            )
            return problem.response(WWW_Authenticate='Bearer realm="auditflow"')
        if self._tokens.matches(token):
            return None
        problem = Problem(401, "Unauthorized", "The token is not the one that this service has.")
        return problem.response(WWW_Authenticate='Bearer realm="auditflow", error="invalid_token"')


def _token(request: Request) -> bytes:
    """What the request carries as its token; empty when it carries none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip().encode("latin-1", "replace")  # WSGI hands headers over as latin-1
    basic = request.authorization  # None, too, when it cannot be read
    if scheme.lower() == "basic" and basic is not None:
        return (basic.password or "").encode("utf-8", "surrogatepass")
    return b""

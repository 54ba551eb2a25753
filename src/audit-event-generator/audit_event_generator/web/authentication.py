"""Check the token of a request, from its headers alone."""

import base64
import binascii
from collections.abc import Mapping

from audit_event_generator.token_registry import TokenRegistry
from audit_event_generator.tokens import TokenSource
from audit_event_generator.web.problems import Response, respond
from auditflow.http.problem import Problem


def authenticate(headers: Mapping[str, str], tokens: TokenRegistry) -> TokenSource | Response:
    """Return the source of the request's token, or the error response.

    The token is a bearer token (RFC 6750), or the password of any user (RFC 7617). A Kubernetes API
    server sends no bearer token over plain HTTP, only the user and password of the webhook's URL.
    """
    token = _token(headers.get("authorization", ""))
    if not token:
        problem = Problem(
            401, "Unauthorized", "Send the ingest token: `Authorization: Bearer <token>`."
        )
        return respond(problem, **{"WWW-Authenticate": 'Bearer realm="auditflow"'})
    source = tokens.find(token)
    if source is not None:
        return source
    problem = Problem(401, "Unauthorized", "The token is not valid.")
    challenge = 'Bearer realm="auditflow", error="invalid_token"'
    return respond(problem, **{"WWW-Authenticate": challenge})


def permit(source: TokenSource, route: str) -> Response | None:
    """Return None if the token permits the route, else the error response."""
    if route in source.routes:
        return None
    permitted = ", ".join(sorted(source.routes))
    detail = f"The token of the source {source.name} permits only these routes: {permitted}."
    return respond(Problem(403, "Forbidden", detail))


def _token(header: str) -> bytes:
    """Return the token of an Authorization header; empty if there is none."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return b""
        return decoded.partition(b":")[2]
    return b""

"""An OpenID Connect issuer that replaces Dex: its discovery document, its keys, and ID tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwk, jwt

PORT = 9082
_LIFETIME_SECONDS = 3600
_ALGORITHM = "RS256"


class Issuer:
    """Signs ID tokens with a key of its own.

    :ivar url: the address, which is the claim ``iss``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = jwk.RSAKey.generate_key(2048, {"use": "sig", "alg": _ALGORITHM, "kid": "lab"})

    def id_token(self, user: str, groups: list[str], *, client: str) -> str:
        """Return the ID token of a user after the sign-in at a client, with the claims of Dex."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": user,
            "aud": client,
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
            "email": f"{user}@example.org",
            "email_verified": True,
            "name": user,
            "groups": groups,
        }
        return jwt.encode({"alg": _ALGORITHM, "kid": "lab"}, claims, self._key)

    def document(self, path: str) -> object | None:
        """Return the document at a path, or None if it does not exist."""
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/auth",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [_ALGORITHM],
                "scopes_supported": ["openid", "profile", "email", "groups"],
            }
        if path == "/keys":
            return {"keys": [self._key.as_dict(private=False)]}
        return None


@contextmanager
def serving(address: str, host: str) -> Iterator[Issuer]:
    """Serve an issuer until the end of the block.

    :param address: the address to listen on.
    :param host: this machine's name or address for pods.
    """
    issuer = Issuer(f"http://{host}:{PORT}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with a document."""
            document = issuer.document(self.path)
            content = json.dumps(document).encode()
            self.send_response(HTTPStatus.NOT_FOUND if document is None else HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer((address, PORT), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

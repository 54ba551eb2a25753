"""Errors over HTTP: RFC 9457 problem details, the same from every service."""

from typing import Final

import msgspec
from msgspec import Struct

CONTENT_TYPE: Final = "application/problem+json"


class Fault(Struct, frozen=True, omit_defaults=True):
    """A fault of an input: its place (a JSON path, a line or a parameter) and a description."""

    where: str
    what: str


class Problem(Struct, frozen=True, omit_defaults=True):
    """The body of an error. ``title`` is of the kind, ``detail`` of this occurrence."""

    status: int
    title: str
    detail: str | None = None
    errors: tuple[Fault, ...] = ()
    type: str = "about:blank"

    def response(self, **headers: str) -> tuple[bytes, int, dict[str, str]]:
        """The answer for a Flask or Quart handler. Header names have ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return msgspec.json.encode(self), self.status, {"Content-Type": CONTENT_TYPE, **named}

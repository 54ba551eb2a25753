"""Tokens that clients show. While one is rotated, that of before is good too."""

import hmac

from pydantic import SecretStr


class Tokens:
    """The token of now, and the one before where clients may still have it."""

    def __init__(self, now: SecretStr, before: SecretStr | None = None) -> None:
        #: The one of now first.
        self.values = tuple(one.get_secret_value() for one in (now, before) if one is not None)

    def matches(self, shown: bytes) -> bool:
        """Whether it is one of them, compared in constant time."""
        return any(hmac.compare_digest(shown, one.encode()) for one in self.values)

"""Bearer tokens that clients send. While a token is rotated, the previous token is accepted too."""

import hmac

from pydantic import SecretStr


class Tokens:
    """The current token, and the previous token while clients may still use it."""

    def __init__(self, current: SecretStr, previous: SecretStr | None = None) -> None:
        #: The current token comes first.
        self.values = tuple(
            token.get_secret_value() for token in (current, previous) if token is not None
        )

    def matches(self, presented: bytes) -> bool:
        """Whether the bytes equal an accepted token. The comparison takes constant time."""
        return any(hmac.compare_digest(presented, token.encode()) for token in self.values)

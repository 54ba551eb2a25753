"""Secrets of receivers: files in one folder.

They are read for each attempt, so that a rotated secret is used at once.
"""

from pathlib import Path
from typing import Final

from notification_service.receivers.delivery import DeliveryError

_MAX_BYTES: Final = 64 * 1024


class SecretFiles:
    """The folder RECEIVER_SECRETS_DIR. The routing file allows no path in a name."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        """The text of a secret, without space around it.

        Raises:
            DeliveryError: it is missing or empty.
        """
        if self._folder is None:
            raise DeliveryError(f"there is no secret {name}: RECEIVER_SECRETS_DIR is not set")
        try:
            with (self._folder / name).open("rb") as file:
                text = file.read(_MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError):
            raise DeliveryError(
                f"the secret {name} cannot be read in RECEIVER_SECRETS_DIR"
            ) from None
        if not text:
            raise DeliveryError(f"the secret {name} is empty")
        return text

"""The routing file: read again when it changes. A file with errors keeps the tree before it."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from notification_service.routing import reading
from notification_service.routing.document import MAX_BYTES, DocumentError
from notification_service.routing.tree import Tree

#: Files beside the routing file, such as schedules, are part of what is watched.
_MAX_FILES: Final = 200
_MAX_SHOWN: Final = 3


class TreeFile:
    """The tree in force. Without a path, it is the empty tree, and nothing is sent."""

    def __init__(
        self, path: Path | None, *, on_reload: Callable[[bool], None] = lambda loaded: None
    ) -> None:
        self.path = path
        self._on_reload = on_reload
        self._lock = threading.Lock()
        self._digest: str | None = None
        self._sha256: str | None = None
        self._tree = Tree()
        self._error: str | None = None
        self._version = 0

    @property
    def tree(self) -> Tree:
        return self._tree

    @property
    def version(self) -> int:
        """Rises with every tree that comes into force."""
        return self._version

    @property
    def folder(self) -> Path | None:
        """Where schedules, calendars and templates are."""
        return self.path.parent if self.path else None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the routing file in force, in hexadecimal."""
        return self._sha256

    def error(self) -> str | None:
        """Why the newest file is not in force; None when it is."""
        return self._error

    def refresh(self) -> bool:
        """Read the file if it, or a file beside it, has changed. Returns whether the tree or one
        of these files changed."""
        if self.path is None:
            return False
        with self._lock:
            try:
                digest = self._digest_now()
            except OSError as error:
                return self._refuse(None, f"{self.path.name} cannot be read: {error.strerror}")
            if digest == self._digest:
                return False
            try:
                content = self.path.read_bytes()[: MAX_BYTES + 1]
                tree = reading.read(content.decode(), name=self.path.name)
            except OSError as error:
                return self._refuse(None, f"{self.path.name} cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                return self._refuse(digest, f"{self.path.name} is not UTF-8")
            except DocumentError as error:
                return self._refuse(digest, _short(error))
            self._tree, self._digest, self._error = tree, digest, None
            self._sha256 = hashlib.sha256(content).hexdigest()
            self._version += 1
            self._on_reload(True)
            return True

    def _refuse(self, digest: str | None, why: str) -> bool:
        is_new = self._error != why
        self._digest, self._error = digest, why
        if is_new:
            self._on_reload(False)
        return False

    def _digest_now(self) -> str:
        assert self.path is not None
        digest = hashlib.sha256(self.path.read_bytes()[: MAX_BYTES + 1])
        files = sorted(file for file in self.path.parent.iterdir() if file.is_file())
        for file in files[:_MAX_FILES]:
            status = file.stat()
            digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()


def _short(error: DocumentError) -> str:
    lines = str(error).splitlines()
    more = len(lines) - _MAX_SHOWN
    return "; ".join(lines[:_MAX_SHOWN]) + (f"; and {more} more errors" if more > 0 else "")

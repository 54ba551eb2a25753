"""Static files, kept in memory and served under URLs that contain their common hash."""

import hashlib
from importlib import resources
from typing import Final

from msgspec import Struct

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Asset(Struct, frozen=True):
    """Content and type of a static file."""

    content: bytes
    content_type: str


class Assets:
    """All files of the folder ``static``, read once.

    All files share one hash, so that relative imports between scripts work.
    """

    def __init__(self) -> None:
        folder = resources.files(__package__).joinpath("static")
        self._files = {
            file.name: Asset(file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
            for file in folder.iterdir()
        }
        digest = hashlib.sha256()
        for name, asset in sorted(self._files.items()):
            digest.update(f"{name} {len(asset.content)} ".encode() + asset.content)
        self.version = digest.hexdigest()[:16]

    def get(self, name: str) -> Asset | None:
        """Return the file with this name, or None."""
        return self._files.get(name)

    def url(self, name: str) -> str:
        """Return the URL of a file.

        Raises:
            LookupError: there is no such file; the template has a mistake.
        """
        if name not in self._files:
            raise LookupError(f"there is no file static/{name}")
        return f"/static/{self.version}/{name}"

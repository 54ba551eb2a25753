"""Styles, scripts and pictures: in memory, under URLs that change when any of them does."""

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
    """One file, as it is sent."""

    content: bytes
    content_type: str


class Assets:
    """All files of the folder ``static``, read once.

    They share one hash, so that a script finds those that it imports beside itself.
    """

    def __init__(self) -> None:
        folder = resources.files(__package__).joinpath("static")
        self._files = {
            file.name: Asset(file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
            for file in folder.iterdir()
        }
        everything = hashlib.sha256()
        for name, asset in sorted(self._files.items()):
            everything.update(f"{name} {len(asset.content)} ".encode() + asset.content)
        self.version = everything.hexdigest()[:16]

    def get(self, name: str) -> Asset | None:
        """The file of this name."""
        return self._files.get(name)

    def url(self, name: str) -> str:
        """For templates; a name that is not there is a mistake in one."""
        if name not in self._files:
            raise LookupError(f"there is no file static/{name}")
        return f"/static/{self.version}/{name}"

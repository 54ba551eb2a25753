"""Static files, kept in memory and served under URLs that contain their common hash."""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

from event_audit_dashboard.localization import script_texts
from event_audit_dashboard.localization.translation import LANGUAGES
from event_audit_dashboard.rendering.compression import compress

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Asset(Struct, frozen=True):
    """Content and type of a static file. ``compressed`` is the content with gzip."""

    content: bytes
    content_type: str
    compressed: bytes


class Assets:
    """All files of the folders ``static`` and ``static/vendor``, read once, and texts of scripts.

    ``vendor`` has the client libraries, which the build of the package gets from npm.
    All files share one hash, so that relative imports between scripts work.
    """

    def __init__(self) -> None:
        own = resources.files("event_audit_dashboard").joinpath("static")
        vendor = own.joinpath("vendor")
        if not vendor.is_dir():
            raise FileNotFoundError(
                f"{vendor} is missing: install the package again, "
                "uv sync --reinstall-package event-audit-dashboard"
            )
        self._files = {
            file.name: _read(file, _TYPES[extension])
            for folder in (own, vendor)
            for file in folder.iterdir()
            if (extension := file.name.rpartition(".")[2]) in _TYPES
        }
        scripts = [
            asset.content.decode()
            for name, asset in self._files.items()
            if own.joinpath(name).is_file() and name.endswith(".js")
        ]
        for language in LANGUAGES.values():
            content = script_texts.write(language, scripts)
            self._files[script_texts.file_name(language)] = _asset(content, _TYPES["js"])
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


def _read(file: Traversable, content_type: str) -> Asset:
    return _asset(file.read_bytes(), content_type)


def _asset(content: bytes, content_type: str) -> Asset:
    return Asset(content, content_type, compress(content))

"""Runbooks of rules: sections of Markdown files, rendered on the page."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import mistune
from markupsafe import Markup

#: Maximum size of a runbook file, in bytes.
MAX_BYTES: Final = 512 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\.md")
_HEADING: Final = re.compile(r"^(#{1,6})\s+(.*?)\s*$", re.MULTILINE)
#: HTML in the file is escaped, and links to schemes such as javascript: are removed.
_render: Final = mistune.create_markdown(escape=True)


class Runbooks:
    """Finds the section of a runbook by its URL or path, such as ``.../auditflow.md#root-login``.

    Only the name of the file and the anchor are used; the file must be in the folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, address: str | None) -> Markup | None:
        """The section as HTML, or None if the folder does not have it."""
        if self._folder is None or not address:
            return None
        try:
            parts = urlsplit(address)
        except ValueError:
            return None
        name = parts.path.rpartition("/")[2]
        file = self._folder / name
        if not _NAME.fullmatch(name) or not file.is_file() or file.stat().st_size > MAX_BYTES:
            return None
        section = find_section(file.read_text("utf-8", "replace"), parts.fragment)
        return None if section is None else render(section)


def find_section(text: str, anchor: str) -> str | None:
    """The text below the heading with this anchor, as GitHub computes it; all without an anchor."""
    if not anchor:
        return text
    headings = list(_HEADING.finditer(text))
    for index, heading in enumerate(headings):
        if anchor_of(heading[2]) == anchor:
            level = len(heading[1])
            following = [item.start() for item in headings[index + 1 :] if len(item[1]) <= level]
            return text[heading.end() : following[0] if following else None].strip()
    return None


def anchor_of(heading: str) -> str:
    """The anchor of a heading: ``Root login: ssh`` has ``root-login-ssh``."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def render(text: str) -> Markup:
    """Markdown as safe HTML. Headings become bold text, because the page has its own headings."""
    without = _HEADING.sub(lambda found: f"**{found[2]}**", text)
    return Markup(str(_render(without)))  # noqa: S704 # nosec B704 # escape=True

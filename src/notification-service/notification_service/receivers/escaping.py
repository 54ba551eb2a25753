"""Makes texts of alerts harmless. Attackers choose them: user names, host names, resources.

Every text loses its control characters first, so that it cannot begin a line, a header or a fake
link of its own, or change the direction of reading.
"""

import re
import unicodedata
from typing import Final

MAX_VALUE: Final = 300
MAX_SUBJECT: Final = 200
#: Zero width space: separates what a chat would read as a mention, a link or markup.
_SEPARATOR: Final = "\u200b"
#: Control characters, format characters (among them those that change the direction of reading),
#: surrogates, and separators of lines and paragraphs.
_REMOVED: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_SPACES: Final = re.compile(r"\s+")
_MENTION: Final = re.compile(r"([@<#&])(?=\S)")
_LINK: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}:)(?=\S)|(\bwww\.)|(\])(?=\()")
_MARKUP: Final = re.compile(r"([`*~\[|])(?=\S)")


def clean(value: object, limit: int = MAX_VALUE) -> str:
    """A text on one line, without control characters, of at most ``limit`` characters."""
    text = str(value)[: 4 * limit]
    kept = "".join(" " if unicodedata.category(letter) in _REMOVED else letter for letter in text)
    text = _SPACES.sub(" ", kept).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def chat(value: object, limit: int = MAX_VALUE) -> str:
    """The text without mentions, links and markup of chats. ``limit`` is in characters."""
    text = clean(value, limit)
    text = _LINK.sub(lambda found: found.group(0) + _SEPARATOR, text)
    text = _MENTION.sub(rf"\1{_SEPARATOR}", text)
    return _MARKUP.sub(rf"\1{_SEPARATOR}", text)


def subject(value: object) -> str:
    """A text for the subject of an e-mail."""
    return clean(value, MAX_SUBJECT)

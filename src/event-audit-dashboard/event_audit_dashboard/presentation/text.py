"""Makes hidden characters in untrusted text visible.

An attacker may have written the text of an event. The templates escape HTML. This module replaces
characters that are invisible or that change the text direction (``U+202E`` shows ``exe.jpg`` as
``gpj.exe``).
"""

import re
import unicodedata
from typing import Any, Final

import msgspec

from event_audit_dashboard.errors import TranslatedError

ELLIPSIS: Final = "…"
#: Format characters that emoji need. They hide nothing.
_HARMLESS: Final = frozenset("\u200d\ufe0f")
_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LINES: Final = {"\n": "↵ ", "\r": "", "\t": " "}
_PLAIN: Final = re.compile(r"[ -~]*")


def visible(value: Any) -> str:
    """One line in which every character is visible; ``⟨U+202E⟩`` replaces a hidden character."""
    text = value if isinstance(value, str) else as_text(value)
    if _PLAIN.fullmatch(text):
        return text
    return "".join(
        _LINES.get(char) or _replace(char, "⟨U+{:04X}⟩") for char in text if char != "\r"
    )


def visible_lines(value: str) -> str:
    """A text whose line breaks stay, in which every other character is visible."""
    return "\n".join(visible(line) for line in value.splitlines())


def shorten(value: Any, length: int) -> str:
    """The first ``length`` characters of a text, with an ellipsis if it is longer."""
    text = value if isinstance(value, str) else as_text(value)
    # Shorten first, so that long texts cost no more than short ones.
    return visible(text if len(text) <= length else text[: length - 1].rstrip()) + (
        ELLIPSIS if len(text) > length else ""
    )


def as_text(value: Any) -> str:
    """A value as text: strings unchanged, other values as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def pretty_json(raw: bytes) -> str:
    """Indented JSON. Hidden characters become JSON escapes, so that the text stays valid JSON."""
    text = msgspec.json.format(raw, indent=2).decode("utf-8", "replace")
    if _PLAIN.fullmatch(text.replace("\n", "")):
        return text
    return "".join(char if char == "\n" else _replace(char, _JSON_ESCAPE) for char in text)


_JSON_ESCAPE: Final = "json"


def _replace(char: str, form: str) -> str:
    if char in _HARMLESS or unicodedata.category(char) not in _HIDING:
        return char
    if form != _JSON_ESCAPE:
        return form.format(ord(char))
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def sentence(error: Exception) -> str:
    """The text of an error as a sentence."""
    text = shorten(error.text if isinstance(error, TranslatedError) else str(error), 300)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")

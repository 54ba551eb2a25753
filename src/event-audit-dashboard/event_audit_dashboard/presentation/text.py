"""Text that comes from events. Whoever wrote it may be the attacker, so nothing in it stays hidden.

Escaping is the templates' work; here characters that show nothing, or that turn the direction of
what follows (``U+202E`` makes ``gpj.exe`` out of ``exe.jpg``), become visible.
"""

import re
import unicodedata
from typing import Any, Final

import msgspec

ELLIPSIS: Final = "…"
#: Format characters that emoji need: they join or choose a picture, and hide nothing.
_HARMLESS: Final = frozenset("\u200d\ufe0f")
_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LINES: Final = {"\n": "↵ ", "\r": "", "\t": " "}
_PLAIN: Final = re.compile(r"[ -~]*")


def visible(value: Any) -> str:
    """One line in which every character shows: ``⟨U+202E⟩`` for what would not."""
    text = value if isinstance(value, str) else said(value)
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_LINES.get(one) or _shown(one, "⟨U+{:04X}⟩") for one in text if one != "\r")


def shorten(value: Any, length: int) -> str:
    """The beginning of a text, closed by an ellipsis where something is left out."""
    text = value if isinstance(value, str) else said(value)
    # Cut first: making ten thousand characters visible to show a hundred is waste.
    return visible(text if len(text) <= length else text[: length - 1].rstrip()) + (
        ELLIPSIS if len(text) > length else ""
    )


def said(value: Any) -> str:
    """A value of an entity in words: texts as they are, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def pretty_json(raw: bytes) -> str:
    """JSON on many lines; what would not show is written as JSON's own escape, so it stays JSON."""
    text = msgspec.json.format(raw, indent=2).decode("utf-8", "replace")
    if _PLAIN.fullmatch(text.replace("\n", "")):
        return text
    return "".join(one if one == "\n" else _shown(one, _JSON_ESCAPE) for one in text)


_JSON_ESCAPE: Final = "json"


def _shown(one: str, form: str) -> str:
    if one in _HARMLESS or unicodedata.category(one) not in _HIDING:
        return one
    if form != _JSON_ESCAPE:
        return form.format(ord(one))
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 alert``, ``2 alerts``, ``12,000 alerts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"

"""The text of a filter for users, hosts, addresses and resources: an exact value or a prefix.

``*`` at the end marks a prefix. For a value that ends in ``*``, a backslash stands before it, and
backslashes directly before it are doubled. All other characters stand for themselves.
"""

from msgspec import Struct


class TextFilter(Struct, frozen=True):
    """A value, or the beginning of values."""

    value: str
    is_prefix: bool = False


def parse(text: str) -> TextFilter:
    """Read the text of a filter. Every text is valid."""
    if not text.endswith("*"):
        return TextFilter(text)
    before = text[:-1]
    kept = before.rstrip("\\")
    backslashes = len(before) - len(kept)
    kept += "\\" * (backslashes // 2)
    return TextFilter(kept + "*") if backslashes % 2 else TextFilter(kept, is_prefix=True)


def exact(value: str) -> str:
    """The text of the filter that selects only this value."""
    if not value.endswith("*"):
        return value
    before = value[:-1]
    backslashes = len(before) - len(before.rstrip("\\"))
    return before + "\\" * backslashes + "\\*"

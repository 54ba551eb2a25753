"""Finds a text that every match of a regular expression contains.

Only literals in the pattern itself count: not in groups, classes or alternatives, and not if a
quantifier allows zero repetitions.
"""

from typing import Final

#: Escapes that stand for the character itself.
_PLAIN_ESCAPES: Final = frozenset(r".\\+*?()[]{}|^$/-_ \"':;,<>=!@#%&~`")
_QUANTIFIERS: Final = "*?{"


def required(pattern: str) -> str:
    """The longest literal that every match contains, in lower case. Empty if there is none."""
    runs, run, offset = [], "", 0
    while offset < len(pattern):
        character = pattern[offset]
        if character == "|":
            return ""  # Each alternative can match without the other.
        literal, offset = _next(pattern, offset)
        if literal is None:
            runs.append(run)
            run = ""
            continue
        if offset < len(pattern) and pattern[offset] in _QUANTIFIERS:
            runs.append(run)  # The quantified character may be absent.
            run = ""
            continue
        run += literal
        if offset < len(pattern) and pattern[offset] == "+":
            runs.append(run)
            run = ""
    runs.append(run)
    return max(runs, key=len).lower()


def _next(pattern: str, offset: int) -> tuple[str | None, int]:
    """The literal at an offset, or None if there is none, and the offset of what follows."""
    character = pattern[offset]
    if character == "\\":
        escaped = pattern[offset + 1 : offset + 2]
        if escaped in ("x", "p", "P", "Q", "0", "1", "2", "3", "4", "5", "6", "7"):
            return None, len(pattern)  # The length of the escape is unknown: ignore the rest.
        return (escaped if escaped in _PLAIN_ESCAPES else None), offset + 2
    if character == "(":
        return None, _after_group(pattern, offset)
    if character == "[":
        return None, _after_class(pattern, offset)
    if character == "{":
        end = pattern.find("}", offset)
        return None, len(pattern) if end < 0 else end + 1
    if character in ".^$*+?)":
        return None, offset + 1
    return character, offset + 1


def _after_group(pattern: str, offset: int) -> int:
    depth = 0
    while offset < len(pattern):
        character = pattern[offset]
        if character == "\\":
            offset += 1
        elif character == "[":
            offset = _after_class(pattern, offset) - 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return offset + 1
        offset += 1
    return offset


def _after_class(pattern: str, offset: int) -> int:
    offset += 1
    if pattern[offset : offset + 1] == "^":
        offset += 1
    if pattern[offset : offset + 1] == "]":
        offset += 1
    while offset < len(pattern) and pattern[offset] != "]":
        offset += 2 if pattern[offset] == "\\" else 1
    return offset + 1

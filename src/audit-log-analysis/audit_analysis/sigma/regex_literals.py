"""A piece of text that a regular expression cannot match without.

Only what is certain: literals that stand in the pattern itself, outside of groups, classes,
alternatives and anything that may be repeated zero times.
"""

from typing import Final

#: Escapes that stand for the character itself.
_PLAIN_ESCAPES: Final = frozenset(r".\\+*?()[]{}|^$/-_ \"':;,<>=!@#%&~`")
_QUANTIFIERS: Final = "*?{"


def required(pattern: str) -> str:
    """The longest literal that every match contains, in lower case; empty when none is certain."""
    runs, run, at = [], "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "|":
            return ""  # either side may match without the other
        literal, at = _next(pattern, at)
        if literal is None:
            runs.append(run)
            run = ""
            continue
        if at < len(pattern) and pattern[at] in _QUANTIFIERS:
            runs.append(run)  # without this character, which may be there zero times
            run = ""
            continue
        run += literal
        if at < len(pattern) and pattern[at] == "+":
            runs.append(run)
            run = ""
    runs.append(run)
    return max(runs, key=len).lower()


def _next(pattern: str, at: int) -> tuple[str | None, int]:
    """The literal at a place, or None for what is no literal; and the place behind it."""
    character = pattern[at]
    if character == "\\":
        escaped = pattern[at + 1 : at + 2]
        if escaped in ("x", "p", "P", "Q", "0", "1", "2", "3", "4", "5", "6", "7"):
            return None, len(pattern)  # longer than two characters: nothing behind it is certain
        return (escaped if escaped in _PLAIN_ESCAPES else None), at + 2
    if character == "(":
        return None, _behind_group(pattern, at)
    if character == "[":
        return None, _behind_class(pattern, at)
    if character == "{":
        end = pattern.find("}", at)
        return None, len(pattern) if end < 0 else end + 1
    if character in ".^$*+?)":
        return None, at + 1
    return character, at + 1


def _behind_group(pattern: str, at: int) -> int:
    depth = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            at = _behind_class(pattern, at) - 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return at


def _behind_class(pattern: str, at: int) -> int:
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1

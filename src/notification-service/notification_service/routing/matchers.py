"""Matchers in Alertmanager's syntax: ``level="critical"``, ``environment=~"prod|staging"``.

A label that an alert does not have is compared as the empty text. Regular expressions are RE2's,
which need linear time for every input, and match the complete value.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import re2

#: Label names: those of alerts, and ``entity.<field>`` for the fields that the rule groups by.
NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}|entity\.[^\s=!~\"{},]{1,128}")
OPERATORS: Final = ("=~", "!~", "!=", "=")
MAX_VALUE: Final = 1_000
#: The memory of one compiled expression, in bytes. It also bounds the work to compile it.
_MAX_MEMORY: Final = 1 << 20

_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}


class MatcherError(ValueError):
    """A matcher cannot be read. The text states what is wrong and what is allowed."""


class Matcher:
    """One condition on one label."""

    def __init__(self, name: str, operator: str, value: str) -> None:
        """Raises ``MatcherError`` for a name, operator, value or expression that is not valid."""
        if not NAME.fullmatch(name):
            raise MatcherError(
                f"{name[:80]!r} is not a label; labels are lower-case words, or entity.<field>"
            )
        if operator not in OPERATORS:
            raise MatcherError(f"{operator!r} is not an operator; use one of {' '.join(OPERATORS)}")
        if len(value) > MAX_VALUE or "\0" in value:
            raise MatcherError(f"the value of {name} must have at most {MAX_VALUE} characters")
        self.name = name
        self.operator = operator
        self.value = value
        if operator in ("=~", "!~"):
            _ = self._expression

    @cached_property
    def _expression(self) -> Any:
        options = re2.Options()
        options.max_mem = _MAX_MEMORY
        options.log_errors = False
        try:
            return re2.compile(self.value, options)
        except re2.error as error:
            raise MatcherError(
                f"{self.value[:80]!r} is not a regular expression (RE2): {error}"
            ) from None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the condition holds for an alert with these labels."""
        value = labels.get(self.name, "")
        match self.operator:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "=~":
                return self._expression.fullmatch(value) is not None
            case _:
                return self._expression.fullmatch(value) is None

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{escaped}"'

    def __repr__(self) -> str:
        return f"Matcher({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Matcher:
    """Read one matcher. The value may be quoted; quotes allow ``\\"``, ``\\\\`` and ``\\n`` in it.

    Raises:
        MatcherError: the text is not a matcher.
    """
    found = re.match(r"\s*([^\s=!~\"]+)\s*(=~|!~|!=|=)\s*", text)
    if not found:
        raise MatcherError(f'{text[:80]!r} is not a matcher; write for example level="critical"')
    value = text[found.end() :].rstrip()
    if value.startswith('"'):
        value = _unquoted(value)
    elif '"' in value:
        raise MatcherError(f"{text[:80]!r}: put the complete value in quotes")
    return Matcher(found.group(1), found.group(2), value)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all conditions hold. No condition matches every alert."""
    return all(matcher.matches(labels) for matcher in matchers)


def _unquoted(text: str) -> str:
    if len(text) < 2 or not text.endswith('"'):
        raise MatcherError(f"{text[:80]!r} has no closing quote")
    value, rest = "", iter(text[1:-1])
    for letter in rest:
        if letter == '"':
            raise MatcherError(f'{text[:80]!r} has a quote in the value; write \\"')
        if letter != "\\":
            value += letter
            continue
        escaped = next(rest, "")
        if escaped == "":
            raise MatcherError(f"{text[:80]!r} has no closing quote")
        # Other escapes are the regular expression's: \d stays \d.
        value += _ESCAPES.get(escaped, "\\" + escaped)
    return value

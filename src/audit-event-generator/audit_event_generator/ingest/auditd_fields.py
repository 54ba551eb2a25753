"""The fields of audit records: ``key=value``, quoted, in hexadecimal, or in pieces.

The kernel writes text that it does not trust in quotes, or, when it has spaces, quotes or control
characters, in hexadecimal without quotes. The enriched names follow after a group separator (0x1d).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

_FIELD: Final = re.compile(r"""([A-Za-z0-9_\-]+(?:\[\d+\])?)=("[^"]*"|'[^']*'|[^\s\x1d]*)""")
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+")
_ARGUMENT: Final = re.compile(r"a(\d{1,6})")
_PIECE: Final = re.compile(r"(a\d{1,6})\[\d+\]")
#: Fields that are text of others' making: without quotes they are in hexadecimal.
_ENCODED: Final = frozenset(
    ("acct", "cmd", "comm", "cwd", "data", "dir", "exe", "file", "grp", "key", "name", "ocomm",
     "path", "proctitle", "root_dir", "sw", "watch")
)  # fmt: skip
#: Placeholders for nothing.
_NOTHING: Final = ("", "?", "(null)", "(none)")
#: Between the keys of several rules that one system call matches.
_KEYS: Final = "\x01"


class Fields:
    """What the records of one event say, by field."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}
        self._arguments: dict[int, str] = {}

    def add(self, name: str, value: str) -> None:
        values = self._values.setdefault(name, [])
        if value not in values:
            values.append(value)

    def add_argument(self, name: str, value: str) -> None:
        """An argument of a command: ``a0``, ``a1``, ..."""
        number = int(name[1:])
        self._arguments[number] = self._arguments.get(number, "") + value

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def one(self, name: str) -> str | None:
        """The first value that says something."""
        return next((one for one in self.all(name) if one not in _NOTHING), None)

    def items(self) -> Iterator[tuple[str, list[str]]]:
        """Every field, arguments included. A system call's ``a0`` stands beside a command's."""
        names = {f"a{number}": value for number, value in self._arguments.items()}
        for name in dict.fromkeys((*self._values, *names)):
            own = [names[name]] if name in names else []
            yield name, list(dict.fromkeys([*own, *self._values.get(name, [])]))

    @property
    def command(self) -> str | None:
        """The whole command line, where there is one."""
        if self._arguments:
            return " ".join(self._arguments[number] for number in sorted(self._arguments))
        return self.one("cmd")


def joined(records: Iterable[tuple[str, str]]) -> Fields:
    """The fields of several records, each given by its type and what follows its name."""
    fields = Fields()
    for kind, rest in records:
        for name, value in _parse(rest):
            _take(fields, kind, name, value)
    # The enrichment names the call that the number stands for; public rules write either.
    for name in fields.all("SYSCALL"):
        fields.add("syscall", name)
    return fields


def _take(fields: Fields, kind: str, name: str, value: str) -> None:
    if kind == "EXECVE" and (piece := _PIECE.fullmatch(name)):
        fields.add_argument(piece[1], _text(value, encoded=True))
    elif kind == "EXECVE" and _ARGUMENT.fullmatch(name):
        fields.add_argument(name, _text(value, encoded=True))
    elif name == "key":
        for key in _text(value, encoded=True).split(_KEYS):
            fields.add(name, key)
    elif name != "SADDR":  # what it holds in braces has been read by itself
        fields.add(name, _text(value, encoded=name in _ENCODED))


def _parse(rest: str) -> Iterator[tuple[str, str]]:
    for name, value in _FIELD.findall(rest):
        if name == "msg" and value.startswith("'"):
            yield from _parse(value.strip("'"))  # what a program says of itself
        else:
            yield name, value


def _text(value: str, *, encoded: bool) -> str:
    if value[:1] in ('"', "'"):
        return value[1:-1]
    if encoded and _HEX.fullmatch(value):
        value = bytes.fromhex(value).decode("utf-8", "backslashreplace")
        # The title of a process has a NUL after each argument, and no event may hold one.
        return value.rstrip("\x00").replace("\x00", " ")
    return value

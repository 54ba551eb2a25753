"""Parse the fields of audit records: ``key=value``, quoted, hexadecimal, or in several parts.

The kernel writes untrusted text in quotes. Text with spaces, quotes or control characters is
hexadecimal without quotes. Enriched names follow after a group separator (0x1d).
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Final

_FIELD: Final = re.compile(r"""([A-Za-z0-9_\-]+(?:\[\d+\])?)=("[^"]*"|'[^']*'|[^\s\x1d]*)""")
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+")
_ARGUMENT: Final = re.compile(r"a(\d{1,6})")
_ARGUMENT_PART: Final = re.compile(r"(a\d{1,6})\[\d+\]")
#: Fields with untrusted text. A value without quotes is hexadecimal.
_ENCODED: Final = frozenset(
    ("acct", "cmd", "comm", "cwd", "data", "dir", "exe", "file", "grp", "key", "name", "ocomm",
     "path", "proctitle", "root_dir", "sw", "watch")
)  # fmt: skip
#: Placeholders for an absent value.
_ABSENT: Final = ("", "?", "(null)", "(none)")
#: Separator of the keys if a system call matches several audit rules.
_KEY_SEPARATOR: Final = "\x01"


class Fields:
    """The fields of the records of one event, by name."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}
        self._arguments: dict[int, str] = {}
        self._paths: list[str] = []

    def add_path(self, path: str) -> None:
        """Add a path as a process named it: absolute, or relative to ``cwd``."""
        self._paths.append(path)

    def resolve_paths(self) -> None:
        """Add every path to the field ``name``, absolute and in its shortest form.

        A rule for /etc/shadow must also match ``shadow`` in /etc, and ``/etc//./shadow``. A path
        with ``..`` is added as it is too, because the folder before it can be a symbolic link.
        """
        folder = self.first("cwd") or ""
        for path in self._paths:
            if path in _ABSENT or not (path.startswith("/") or folder.startswith("/")):
                self.add("name", path)
                continue
            if ".." in path.split("/"):
                self.add("name", path)
            self.add("name", "/" + posixpath.normpath(posixpath.join(folder, path)).lstrip("/"))

    def add(self, name: str, value: str) -> None:
        """Add a value, unless the field already has it."""
        values = self._values.setdefault(name, [])
        if value not in values:
            values.append(value)

    def add_argument(self, name: str, value: str) -> None:
        """Add an argument of a command (``a0``, ``a1``, ...), or the next part of it."""
        number = int(name[1:])
        self._arguments[number] = self._arguments.get(number, "") + value

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return self._values.get(name, [])

    def first(self, name: str) -> str | None:
        """Return the first value that is not a placeholder."""
        return next((value for value in self.all(name) if value not in _ABSENT), None)

    def items(self) -> Iterator[tuple[str, list[str]]]:
        """Yield every field with its values. ``a0`` has the values of system call and command."""
        arguments = {f"a{number}": value for number, value in self._arguments.items()}
        for name in dict.fromkeys((*self._values, *arguments)):
            argument = [arguments[name]] if name in arguments else []
            yield name, list(dict.fromkeys([*argument, *self._values.get(name, [])]))

    @property
    def command(self) -> str | None:
        """The complete command line; None if there is none."""
        if self._arguments:
            return " ".join(self._arguments[number] for number in sorted(self._arguments))
        return self.first("cmd")


def join(records: Iterable[tuple[str, str]]) -> Fields:
    """Return the fields of several records, each given as type and text after the header."""
    fields = Fields()
    for kind, rest in records:
        for name, value in _parse(rest):
            _add(fields, kind, name, value)
    fields.resolve_paths()
    # The enriched field names the system call. Public rules use the number or the name.
    for name in fields.all("SYSCALL"):
        fields.add("syscall", name)
    return fields


def _add(fields: Fields, kind: str, name: str, value: str) -> None:
    if kind == "EXECVE" and (part := _ARGUMENT_PART.fullmatch(name)):
        fields.add_argument(part[1], _text(value, encoded=True))
    elif kind == "EXECVE" and _ARGUMENT.fullmatch(name):
        fields.add_argument(name, _text(value, encoded=True))
    elif name == "key":
        for key in _text(value, encoded=True).split(_KEY_SEPARATOR):
            fields.add(name, key)
    elif kind == "PATH" and name == "name":
        fields.add_path(_text(value, encoded=True))
    elif name != "SADDR":  # its content in braces is parsed separately
        fields.add(name, _text(value, encoded=name in _ENCODED))


def _parse(rest: str) -> Iterator[tuple[str, str]]:
    for name, value in _FIELD.findall(rest):
        if name == "msg" and value.startswith("'"):
            yield from _parse(value.strip("'"))  # the message of a program
        else:
            yield name, value


def _text(value: str, *, encoded: bool) -> str:
    if value[:1] in ('"', "'"):
        return value[1:-1]
    if encoded and _HEX.fullmatch(value):
        value = bytes.fromhex(value).decode("utf-8", "backslashreplace")
        # A process title has a NUL after each argument. Events must not contain NUL.
        return value.rstrip("\x00").replace("\x00", " ")
    return value

"""Reads YAML files within bounds, because a file may be damaged, huge or hostile.

Python values are built directly from the events of libyaml, without recursion and without a tree
of nodes. Size, depth and expanded aliases are checked before an object is built. Only the tags of
plain data are supported.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from auditflow.errors import AuditFlowError

#: Maximum size of a file. 200,000 values of 64 characters need 14 MiB.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
#: Maximum number of documents in a file.
MAX_DOCUMENTS: Final = 2_000
#: Maximum depth of nested lists and mappings. Public rules need 8 levels.
MAX_DEPTH: Final = 64
#: Maximum number of values in a file, with the values that aliases repeat.
MAX_VALUES: Final = 1_000_000
#: Maximum number of values that aliases repeat.
MAX_ALIASED_VALUES: Final = 10_000
#: Maximum length of a text, in characters.
MAX_TEXT: Final = 64 * 1024
#: Maximum length of a number or timestamp, in characters.
_MAX_NUMBER: Final = 100

_PREFIX: Final = "tag:yaml.org,2002:"
_TEXT: Final = _PREFIX + "str"
_MERGE: Final = _PREFIX + "merge"
#: Functions that convert a scalar, by tag. `=` (the tag "value") is a text in rules.
_CONVERT: Final = {
    _PREFIX + "null": SafeConstructor.construct_yaml_null,
    _PREFIX + "bool": SafeConstructor.construct_yaml_bool,
    _PREFIX + "int": SafeConstructor.construct_yaml_int,
    _PREFIX + "float": SafeConstructor.construct_yaml_float,
    _PREFIX + "timestamp": SafeConstructor.construct_yaml_timestamp,
}
_TEXT_TAGS: Final = {_TEXT, _PREFIX + "value"}
_CONTAINER_TAGS: Final = {None, "!", _PREFIX + "map", _PREFIX + "seq"}
#: Tags and patterns of plain scalars, by their first character.
_RESOLVERS: Final[dict[str, list[tuple[str, Any]]]] = Resolver.yaml_implicit_resolvers
_MISSING: Final = object()
_MERGE_KEY: Final = object()


class YamlFault(AuditFlowError):
    """A file cannot be read. ``line`` starts at 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class YamlDocument(Struct, frozen=True):
    """One document of a file, with the line of its first value (starts at 1).

    ``key_lines`` has the line of each key, if the document is a mapping.
    """

    line: int
    content: Any
    key_lines: dict[Any, int]


class _Container(Struct):
    """A list or mapping that is not complete. ``start`` is the number of values before it."""

    value: Any
    start: int
    anchor: str | None
    key: Any = _MISSING
    merged: list[Any] = []


def read_text(path: Path) -> str:
    """The text of a regular file.

    Raises:
        YamlFault: the file cannot be read, is not a regular file, is too large or is not UTF-8.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise YamlFault(1, "cannot be read: not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise YamlFault(1, f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise YamlFault(1, f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlFault(line, f"is not UTF-8: byte 0x{content[error.start]:02x}") from None


def read_documents(text: str) -> Iterator[YamlDocument]:
    """The documents of a text that are not empty, in order.

    Raises:
        YamlFault: the text is not YAML, or exceeds a limit.
    """
    try:
        yield from _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(mark.line + 1 if mark else 1, f"YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise YamlFault(line, f"YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise YamlFault(1, f"YAML: {error}") from None


class _Builder:
    """Builds the values of one file."""

    def __init__(self) -> None:
        self._constructor = SafeConstructor()
        #: Numbers of values in the file, and of those that aliases repeat.
        self._values = 0
        self._aliased = 0
        self._documents = 0
        # The present document: its open containers, and its anchors with their sizes.
        self._stack: list[_Container] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._root: Any = None
        self._line = 1
        self._key_lines: dict[Any, int] = {}

    def build(self, text: str) -> Iterator[YamlDocument]:
        """The documents of a text. Raises yaml.YAMLError and YamlFault."""
        for event in yaml.parse(text, yaml.CSafeLoader):
            kind = event.__class__
            if kind is yaml.ScalarEvent:
                self._put(event, self._scalar(event))
            elif kind is yaml.SequenceStartEvent:
                self._open(event, [])
            elif kind is yaml.MappingStartEvent:
                self._open(event, {})
            elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
                self._put(event, self._close())
            elif kind is yaml.AliasEvent:
                self._put(event, self._alias(event))
            elif kind is yaml.DocumentStartEvent:
                self._start_document(event)
            elif kind is yaml.DocumentEndEvent and self._root is not None:
                yield YamlDocument(self._line, self._root, self._key_lines)

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            raise _fault(event, f"has more than {MAX_DOCUMENTS} documents")
        self._anchors, self._key_lines = {}, {}
        self._root, self._line = None, 0

    def _open(self, event: Any, empty: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _fault(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.tag not in _CONTAINER_TAGS:
            raise _fault(event, f"the tag {event.tag!r} is not supported")
        if not self._line:
            self._line = event.start_mark.line + 1
        self._anchors.pop(event.anchor, None)
        self._count(event, 1)
        self._stack.append(_Container(empty, self._values, event.anchor))

    def _close(self) -> Any:
        container = self._stack.pop()
        value = container.value
        for mapping in container.merged:
            for key, item in mapping.items():
                value.setdefault(key, item)
        if container.anchor is not None:
            self._anchors[container.anchor] = value, self._values - container.start + 1
        return value

    def _put(self, event: Any, value: Any) -> None:
        """Add a complete value to the container that it is in, or to the document."""
        stack = self._stack
        if not stack:
            self._root = value
            self._line = self._line or event.start_mark.line + 1
            return
        container = stack[-1]
        if container.value.__class__ is list:
            container.value.append(value)
        elif container.key is not _MISSING:
            _put_in_mapping(event, container, value)
        elif isinstance(value, (dict, list)):
            raise _fault(event, "a key must be a text or a number")
        elif value in container.value:
            raise _fault(event, f"the key {str(value)!r} is repeated")
        else:
            container.key = value
            if len(stack) == 1:
                self._key_lines[value] = event.start_mark.line + 1

    def _expects_key(self) -> bool:
        if not self._stack:
            return False
        container = self._stack[-1]
        return isinstance(container.value, dict) and container.key is _MISSING

    def _count(self, event: Any, number: int) -> None:
        self._values += number
        if self._values > MAX_VALUES:
            raise _fault(event, f"has more than {MAX_VALUES:,} values")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            # libyaml accepts an alias of a container inside of this container.
            raise _fault(event, f"the alias *{event.anchor} has no complete anchor before it")
        value, size = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED_VALUES:
            raise _fault(event, f"aliases repeat more than {MAX_ALIASED_VALUES:,} values")
        self._count(event, size)
        return value

    def _scalar(self, event: Any) -> Any:
        value = self._convert(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        return value

    def _convert(self, event: Any) -> Any:
        value: str = event.value
        self._count(event, 1)
        if len(value) > MAX_TEXT:
            raise _fault(event, f"a text is longer than {MAX_TEXT // 1024} KiB")
        tag = event.tag
        if tag is None or tag == "!":
            tag = _TEXT
            if event.implicit[0]:
                for candidate, pattern in _RESOLVERS.get(value[:1], ()):
                    if pattern.match(value):
                        tag = candidate
                        break
        if tag in _TEXT_TAGS:
            return value
        if tag == _MERGE:
            return _MERGE_KEY if self._expects_key() else value
        convert = _CONVERT.get(tag)
        if convert is None:
            raise _fault(event, f"the tag {tag!r} is not supported")
        if len(value) > _MAX_NUMBER:
            raise _fault(event, f"a number has {len(value):,} characters")
        try:
            return convert(self._constructor, yaml.ScalarNode(tag, value))
        except (ValueError, KeyError, IndexError, ArithmeticError, AttributeError):
            kind = tag.removeprefix(_PREFIX)
            raise _fault(event, f"{value!r} is not a valid {kind}") from None


def _put_in_mapping(event: Any, container: _Container, value: Any) -> None:
    key, container.key = container.key, _MISSING
    if key is not _MERGE_KEY:
        container.value[key] = value
        return
    mappings = value if isinstance(value, list) else [value]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise _fault(event, "`<<` requires a mapping or a list of mappings")
    container.merged += mappings


def _fault(event: Any, message: str) -> YamlFault:
    mark = event.start_mark
    return YamlFault(mark.line + 1 if mark else 1, message)

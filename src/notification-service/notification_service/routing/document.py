"""A YAML document that remembers where each value is, so that every error has a location."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import yaml
from msgspec import Struct

from auditflow.errors import AuditFlowError

T = TypeVar("T")

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
#: Aliases make a small text a large document.
MAX_VALUES: Final = 50_000


class Fault(Struct, frozen=True, order=True):
    """One error in a file. Lines and columns are counted from 1."""

    line: int
    column: int
    path: str
    what: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.line}:{self.column}: {where}{self.what}"


class DocumentError(AuditFlowError):
    """A file that cannot be used, with all its errors."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(f"{name}:{fault}" for fault in faults))
        self.name = name
        self.faults = faults


class Faults(list[Fault]):
    """The errors found so far."""

    def catch(self, node: "Node", read: Callable[[], T], default: T) -> T:
        """The result of ``read``. After a ``ValueError`` the default, and the error is a fault."""
        try:
            return read()
        except ValueError as error:
            node.fault(str(error))
            return default


class Node:
    """A value of the document. Its readers note errors and return a usable default."""

    def __init__(self, node: yaml.Node, path: str, faults: Faults) -> None:
        self.node = node
        self.path = path
        self.faults = faults

    def fault(self, what: str) -> None:
        """Note an error at this value."""
        mark = self.node.start_mark
        self.faults.append(Fault(mark.line + 1, mark.column + 1, self.path, what))

    def mapping(
        self, allowed: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> "dict[str, Node]":
        """The fields of a mapping. Unknown, repeated and missing fields are errors."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fault(f"must be a mapping with {', '.join(allowed)}")
            return {}
        fields: dict[str, Node] = {}
        for key, value in self._pairs():
            name = key.node.value
            if name not in allowed:
                key.fault(f"unknown field {name[:60]!r}; the fields are {', '.join(allowed)}")
            elif name in fields:
                key.fault(f"the field {name!r} is given twice")
            else:
                fields[name] = value
        for name in required:
            if name not in fields:
                self.fault(f"the field {name!r} is missing")
        return fields

    def entries(self) -> "Iterator[tuple[str, Node]]":
        """The pairs of a mapping whose keys are free texts."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fault("must be a mapping")
            return
        seen: set[str] = set()
        for key, value in self._pairs():
            name = key.node.value
            if name in seen:
                key.fault(f"{name[:60]!r} is given twice")
            seen.add(name)
            yield name, value

    def items(self) -> "list[Node]":
        """The values of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.fault("must be a list")
            return []
        return [
            Node(item, f"{self.path}[{number}]", self.faults)
            for number, item in enumerate(self.node.value)
        ]

    def text(self, default: str = "") -> str:
        """A text that is not empty."""
        tagged = isinstance(self.node, yaml.ScalarNode) and not self.node.tag.endswith(":null")
        if not tagged or not self.node.value or "\0" in self.node.value:
            self.fault("must be a text")
            return default
        return str(self.node.value)

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        value = self.node.value if isinstance(self.node, yaml.ScalarNode) else None
        if value not in ("true", "false"):
            self.fault("must be true or false")
        return value == "true"

    def number(self, lowest: int, highest: int) -> int:
        """A whole number from ``lowest`` to ``highest``."""
        text = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        if text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest:
            return int(text)
        self.fault(f"must be a whole number from {lowest} to {highest}")
        return lowest

    def choice(self, allowed: tuple[str, ...]) -> str:
        """One of a few texts."""
        value = self.text(allowed[0])
        if value not in allowed:
            self.fault(f"must be one of {', '.join(allowed)}")
            return allowed[0]
        return value

    def _pairs(self) -> "Iterator[tuple[Node, Node]]":
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                Node(key, self.path, self.faults).fault("a field name must be a text")
                continue
            path = f"{self.path}.{key.value[:60]}" if self.path else key.value[:60]
            yield Node(key, path, self.faults), Node(value, path, self.faults)


def compose(text: str) -> tuple[Node | None, Faults]:
    """Parse a document. Returns None with the errors when it cannot be read, and None without an
    error when it is empty."""
    faults = Faults()
    try:
        node = _compose(text)
        if node is None:
            return None, faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        faults.append(Fault(line, column, "", f"is not YAML: {error.problem or error.context}"))
        return None, faults
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        faults.append(Fault(1, 1, "", what.partition("\n")[0]))
        return None, faults
    return Node(node, "", faults), faults


def _compose(text: str) -> yaml.Node | None:
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise ValueError(f"the file has more than {MAX_BYTES} bytes")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None:
        _bound(node)
    return node


def _bound(root: yaml.Node) -> None:
    """Refuse a document that is too deep or that aliases make too large."""
    waiting: list[tuple[Any, int]] = [(root, 1)]
    values = 0
    while waiting:
        node, depth = waiting.pop()
        values += 1
        if values > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError(
                f"the file has more than {MAX_VALUES} values, or more than {MAX_DEPTH} levels"
            )
        if isinstance(node, yaml.SequenceNode):
            waiting.extend((child, depth + 1) for child in node.value)
        elif isinstance(node, yaml.MappingNode):
            waiting.extend((child, depth + 1) for pair in node.value for child in pair)

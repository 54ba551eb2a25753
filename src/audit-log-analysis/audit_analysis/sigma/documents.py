"""Reads rule files as YAML documents with their locations."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from sigma.exceptions import SigmaError

from audit_analysis.sigma.errors import RuleFault

#: The suffix of test files: burst.test.yml has the tests of burst.yml.
TESTS: Final = ".test.yml"
#: The name of files with the values of placeholders; see placeholders.py.
PLACEHOLDERS: Final = "placeholders.yml"


@dataclass(frozen=True)
class Document:
    """One YAML document of a rule file."""

    path: Path
    line: int
    content: Any

    def fault(self, message: object) -> RuleFault:
        """A fault at the location of this document."""
        text = message.args[0] if isinstance(message, SigmaError) and message.args else message
        return RuleFault(self.path, self.line, str(text))

    def with_(self, addition: Any) -> "Document":
        """The same location with additional content, which changes the revision."""
        return replace(self, content=[self.content, addition])

    @property
    def revision(self) -> str:
        """Changes when the content changes: the first digits of a hash."""
        encoded = msgspec.json.encode(
            _with_text_keys(self.content), order="deterministic", enc_hook=str
        )
        return hashlib.sha256(encoded).hexdigest()[:12]


def _with_text_keys(node: Any) -> Any:
    """Convert keys to text, because YAML reads a selection with the name `off` as a boolean."""
    if isinstance(node, dict):
        return {str(key): _with_text_keys(value) for key, value in node.items()}
    return [_with_text_keys(element) for element in node] if isinstance(node, list) else node


def files(paths: Iterable[Path]) -> list[Path]:
    """The rule files at the paths, which are files or folders. Test files are excluded."""
    return [path for path in watched(paths) if path.name != PLACEHOLDERS]


def placeholder_files(paths: Sequence[Path]) -> list[Path]:
    """The files with values of placeholders: at the paths, or next to a path that is a file."""
    siblings = {path.parent / PLACEHOLDERS for path in paths if not path.is_dir()}
    found = {path for path in watched(paths) if path.name == PLACEHOLDERS}
    return sorted(found | {path for path in siblings if path.is_file()})


def watched(paths: Iterable[Path]) -> list[Path]:
    """All files at the paths that affect the rules."""
    found = set()
    for path in paths:
        candidates = _files_in(path) if path.is_dir() else [path]
        found |= {file for file in candidates if file.suffix in (".yml", ".yaml")}
    return sorted(file for file in found if not file.name.endswith(TESTS))


def _files_in(folder: Path) -> Iterator[Path]:
    """The YAML files of a folder, at any depth.

    The files of a mounted ConfigMap are links into a folder whose name begins with `..`. That
    folder is skipped, because it has the same files again.
    """
    for path in folder.rglob("*.y*ml"):
        if not any(part.startswith("..") for part in path.relative_to(folder).parts):
            yield path


def read(paths: Iterable[Path], faults: list[RuleFault]) -> Iterator[Document]:
    """The documents of rule files, in order. Files that cannot be read are added to ``faults``."""
    for path in paths:
        try:
            with path.open(encoding="utf-8") as text:
                for node in yaml.compose_all(text, yaml.CSafeLoader):
                    if node is not None:
                        yield Document(path, node.start_mark.line + 1, content(node))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            faults.append(RuleFault(path, mark.line + 1 if mark else 1, f"YAML: {error.problem}"))
        except (OSError, UnicodeDecodeError) as error:
            faults.append(RuleFault(path, 1, f"cannot be read: {error}"))


def content(node: yaml.Node) -> Any:
    """The Python value of a YAML node."""
    return yaml.CSafeLoader("").construct_document(node)

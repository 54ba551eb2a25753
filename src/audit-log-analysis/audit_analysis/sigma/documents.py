"""Reads rule files as YAML documents with their locations."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from audit_analysis.sigma import yaml_reader
from audit_analysis.sigma.errors import RuleFault, Unsupported
from audit_analysis.sigma.yaml_reader import YamlFault

#: The suffix of test files: burst.test.yml has the tests of burst.yml.
TESTS: Final = ".test.yml"
#: The name of files with the values of placeholders; see placeholders.py.
PLACEHOLDERS: Final = "placeholders.yml"
#: Maximum number of files that are read. SigmaHQ has about 4,000 rule files.
MAX_FILES: Final = 20_000


@dataclass(frozen=True)
class Document:
    """One YAML document of a rule file."""

    path: Path
    line: int
    content: Any

    def fault(self, message: object) -> RuleFault:
        """A fault at the location of this document."""
        # pySigma's errors add the location to their text; their first argument is without it.
        text = message
        if isinstance(message, Exception) and message.args:
            text = message.args[0]
        return RuleFault.of(self.path, self.line, text)

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


@contextmanager
def collect_faults(document: Document, faults: list[RuleFault]) -> Iterator[None]:
    """Add errors that the block raises to ``faults``, with the location of the document.

    A rule file is input. Therefore even a defect of pySigma for an unusual file concerns this file
    only.
    """
    try:
        yield
    except Unsupported as error:
        faults.append(document.fault(f"not supported: {error}"))
    except RecursionError:
        faults.append(document.fault("is nested too deeply"))
    except ValueError as error:
        faults.append(document.fault(error))
    except Exception as error:  # noqa: BLE001 - see above
        faults.append(document.fault(f"not a Sigma rule: {type(error).__name__}: {error}"))


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


def missing(paths: Iterable[Path]) -> list[RuleFault]:
    """A fault for each path that does not exist or cannot be used."""
    return [RuleFault.of(path, 1, "does not exist") for path in paths if not path.exists()]


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
        yield from read_file(path, faults)


def read_file(path: Path, faults: list[RuleFault]) -> list[Document]:
    """The documents of one file. Empty, with a fault, if any part of it cannot be read."""
    try:
        found = yaml_reader.read_documents(yaml_reader.read_text(path))
        return [Document(path, document.line, document.content) for document in found]
    except YamlFault as fault:
        faults.append(RuleFault.of(path, fault.line, fault.message))
    return []

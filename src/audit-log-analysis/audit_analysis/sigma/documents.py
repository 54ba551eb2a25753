"""Rule files as YAML documents, each with its place."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from sigma.exceptions import SigmaError

from audit_analysis.sigma.errors import RuleFault

#: Tests stand beside the rules: burst.yml is tested by burst.test.yml.
TESTS: Final = ".test.yml"
#: What placeholders stand for; see placeholders.py.
PLACEHOLDERS: Final = "placeholders.yml"


@dataclass(frozen=True)
class Document:
    """One YAML document of a rule file."""

    path: Path
    line: int
    content: Any

    def fault(self, what: object) -> RuleFault:
        """Something wrong with it, at its place."""
        text = what.args[0] if isinstance(what, SigmaError) and what.args else what
        return RuleFault(self.path, self.line, str(text))

    def with_(self, more: Any) -> "Document":
        """The same place, with something more worked into it: another revision."""
        return replace(self, content=[self.content, more])

    @property
    def revision(self) -> str:
        """Changes whenever the rule does: the first digits of a hash of what it says."""
        said = msgspec.json.encode(_named(self.content), order="deterministic", enc_hook=str)
        return hashlib.sha256(said).hexdigest()[:12]


def _named(node: Any) -> Any:
    """With text for keys: YAML reads a selection that is called `off` as a truth value."""
    if isinstance(node, dict):
        return {str(key): _named(value) for key, value in node.items()}
    return [_named(one) for one in node] if isinstance(node, list) else node


def files(places: Iterable[Path]) -> list[Path]:
    """The rule files at these places, each a file or a folder, without the tests beside them."""
    return [path for path in watched(places) if path.name != PLACEHOLDERS]


def placeholder_files(places: Sequence[Path]) -> list[Path]:
    """The files at these places, or beside them, that say what placeholders stand for."""
    beside = {place.parent / PLACEHOLDERS for place in places if not place.is_dir()}
    found = {path for path in watched(places) if path.name == PLACEHOLDERS}
    return sorted(found | {path for path in beside if path.is_file()})


def watched(places: Iterable[Path]) -> list[Path]:
    """All files at these places that have a say in the rules."""
    found = set()
    for place in places:
        inside = _inside(place) if place.is_dir() else [place]
        found |= {path for path in inside if path.suffix in (".yml", ".yaml")}
    return sorted(path for path in found if not path.name.endswith(TESTS))


def _inside(folder: Path) -> Iterator[Path]:
    """The files of a folder. Those of a mounted ConfigMap are links into a folder named ``..data``,
    which is not to be seen as a second set."""
    for path in folder.rglob("*.y*ml"):
        if not any(part.startswith("..") for part in path.relative_to(folder).parts):
            yield path


def read(paths: Iterable[Path], faults: list[RuleFault]) -> Iterator[Document]:
    """The documents of rule files, in order. What cannot be read is added to ``faults``."""
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
    """What a document says, from what it is made of: parsed once, and by the parser in C."""
    return yaml.CSafeLoader("").construct_document(node)

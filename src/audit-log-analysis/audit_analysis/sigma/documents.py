"""Rule files as YAML documents, each with its place."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from sigma.exceptions import SigmaError

from audit_analysis.sigma.errors import RuleFault

#: Tests stand beside the rules: burst.yml is tested by burst.test.yml.
TESTS: Final = ".test.yml"


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

    def and_(self, other: "Document") -> "Document":
        """The same place, with another document worked into it: another revision."""
        return replace(self, content=[self.content, other.content])

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
    found = set()
    for place in places:
        inside = place.rglob("*.y*ml") if place.is_dir() else [place]
        found |= {path for path in inside if path.suffix in (".yml", ".yaml")}
    return sorted(path for path in found if not path.name.endswith(TESTS))


def read(paths: Iterable[Path], faults: list[RuleFault]) -> Iterator[Document]:
    """The documents of rule files, in order. What cannot be read is added to ``faults``."""
    for path in paths:
        try:
            with path.open(encoding="utf-8") as text:
                for node in yaml.compose_all(text, yaml.CSafeLoader):
                    if node is not None:
                        content = yaml.safe_load(yaml.serialize(node))
                        yield Document(path, node.start_mark.line + 1, content)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            faults.append(RuleFault(path, mark.line + 1 if mark else 1, f"YAML: {error.problem}"))
        except (OSError, UnicodeDecodeError) as error:
            faults.append(RuleFault(path, 1, f"cannot be read: {error}"))

"""Read targets.toml (modules and tests) and survivors.toml (accepted survivors with reasons)."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from src.devtools.mutation.operators import Mutation
from src.devtools.mutation.run import ROOT, Target, parse_tests

FOLDER: Final = Path(__file__).parent


class ConfigurationError(Exception):
    """A configuration file names a file that does not exist, or lacks a field."""


@dataclass(frozen=True)
class Survivor:
    """A mutation that no test can detect, with the reason.

    ``code`` is the line of the mutation without indentation. The line number is not stated, because
    it changes.
    """

    module: str
    code: str
    original: str
    replacement: str
    reason: str

    def matches(self, module: str, mutation: Mutation) -> bool:
        """Whether this entry is about the mutation."""
        return (module, mutation.code, mutation.original, mutation.replacement) == (
            self.module,
            self.code,
            self.original,
            self.replacement,
        )


def targets(file: Path = FOLDER / "targets.toml") -> list[Target]:
    """The modules to mutate.

    Raises:
        ConfigurationError: a module or its tests do not exist.
    """
    document = tomllib.loads(file.read_text("utf-8"))
    loaded = []
    for entry in document["target"]:
        target = Target(entry["module"], parse_tests(entry["tests"]))
        if not target.file.is_file():
            raise ConfigurationError(f"{file}: {target.module} does not exist")
        for name in entry["tests"]:
            if not list(ROOT.glob(name)):
                raise ConfigurationError(
                    f"{file}: {name} (tests of {target.module}) does not exist"
                )
        loaded.append(target)
    return loaded


def survivors(file: Path = FOLDER / "survivors.toml") -> list[Survivor]:
    """The accepted survivors.

    Raises:
        ConfigurationError: an entry has no reason.
    """
    document = tomllib.loads(file.read_text("utf-8"))
    entries = [Survivor(**entry) for entry in document.get("survivor", [])]
    for entry in entries:
        if not entry.reason.strip():
            raise ConfigurationError(f"{file}: {entry.original!r} has no reason")
    return entries


def is_accepted(survivors: Iterable[Survivor], module: str, mutation: Mutation) -> bool:
    """Whether a mutation is an accepted survivor."""
    return any(survivor.matches(module, mutation) for survivor in survivors)

"""Python names use standard terms. CONTRIBUTING.md ("Plain English") explains the rule."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Names that say nothing about the value, and names of a private vocabulary. Name the thing instead:
#: `delivery`, `alert`, `output`, `timestamp_ms`, `buffer`, `offset`.
FORBIDDEN = frozenset(
    {
        "one", "ones", "said", "told", "says", "tells", "moment", "whole", "whence", "whither",
        "ground", "grounded", "depart", "departed", "landed", "aloft", "brake", "runway", "flight",
        "teller", "sighting", "sightings", "mend", "mended", "anew", "meanwhile", "nobody", "somebody",
        "place", "places", "tell", "begun", "apart",
        "asked", "burnt", "chance", "honest", "mine", "rubbish", "strike", "theirs", "took",
    }
)  # fmt: skip

#: Words that no part of a function name has, such as `test_an_error_is_said`.
FORBIDDEN_WORDS = frozenset(
    {
        "said",
        "told",
        "says",
        "tells",
        "nobody",
        "somebody",
        "anew",
        "sighting",
        "runway",
        "asked",
        "burnt",
        "rubbish",
        "strike",
        "unanswered",
        "whom",
        "away",
        "hear",
        "heard",
        "hears",
        "midst",
        "peace",
        "story",
    }
)


def files() -> list[str]:
    """The Python files that git tracks."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "*.py"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each name that the code defines (variables, parameters, functions, classes), with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name, node.lineno


def problems(source: str) -> list[tuple[int, str]]:
    """The lines that define a forbidden name."""
    return sorted(
        {
            (line, name)
            for name, line in bound_names(ast.parse(source))
            if name.strip("_").lower() in FORBIDDEN
            or not FORBIDDEN_WORDS.isdisjoint(name.lower().split("_"))
        }
    )


def test_no_forbidden_names() -> None:
    found = [
        f"{name}:{line}: rename {identifier!r}"
        for name in files()
        for line, identifier in problems((ROOT / name).read_text("utf-8"))
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "for one in batch: pass",
        "said = 1",
        "def f(moment): pass",
        "class Teller: pass",
        "self._whole = 2",
        "import x as one",
        "[a for one, a in b]",
        "with x as told: pass",
        "if (said := 1): pass",
        "def test_an_error_is_said(): pass",
        "try: pass\nexcept OSError as told: pass",
        "match x:\n case [_, *whole]: pass",
        "match x:\n case int() as moment: pass",
        "match x:\n case {**ground}: pass",
    ],
)
def test_a_forbidden_name_is_found(source: str) -> None:
    assert problems(source)


def test_other_words_are_allowed() -> None:
    assert problems("for delivery in batch: print(delivery, 'one', landing)\n# one\n") == []

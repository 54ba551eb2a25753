"""Write the module tables of README files from the docstrings of the modules.

A README contains two markers. The tool replaces the text between them:

    <!-- modules: src/gitops/gitops -->
    <!-- /modules -->

``depth=1`` after the path lists only the top level: ``<!-- modules: src/x/y depth=1 -->``. The
docstring of ``__init__.py`` describes a folder. ``--check`` changes nothing and fails if a table is
not up to date. ``make readmes`` calls the tool; a test calls it with ``--check``.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?P<start><!-- modules: (?P<folder>\S+?)(?: depth=(?P<depth>\d))? -->\n)"
    r".*?(?P<end><!-- /modules -->)",
    re.DOTALL,
)
_DEFAULT_DEPTH = 2


class MissingDocstringError(Exception):
    """A module has no docstring, so the table cannot describe it."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} has no docstring; start the file with one sentence about it")


def summary(file: Path) -> str:
    """The first sentence of a module's docstring, without the final full stop.

    Raises:
        MissingDocstringError: the module has no docstring.
    """
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    if not docstring:
        raise MissingDocstringError(file)
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph, maxsplit=1)[0]
    return sentence.removesuffix(".").replace("``", "`").replace("|", "\\|")


def rows(folder: Path, depth: int, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The name and the summary of each module and subfolder, sorted by name."""
    for path in sorted(folder.iterdir()):
        init = path / "__init__.py"
        if path.is_dir() and init.exists():
            yield f"{prefix}{path.name}/", summary(init)
            if depth > 1:
                yield from rows(path, depth - 1, f"{prefix}{path.name}/")
        elif path.suffix == ".py" and path.name not in {"__init__.py", "__main__.py"}:
            yield f"{prefix}{path.stem}", summary(path)


def table(folder: Path, depth: int) -> str:
    """The module table of a package as Markdown, with a final newline."""
    lines = ["| module | description |", "|---|---|"]
    lines += [f"| `{name}` | {description} |" for name, description in rows(folder, depth)]
    return "\n".join(lines) + "\n"


def updated(text: str, root: Path = ROOT) -> str:
    """The text of a README with current module tables."""

    def replace(match: re.Match[str]) -> str:
        depth = int(match["depth"] or _DEFAULT_DEPTH)
        return match["start"] + table(root / match["folder"], depth) + match["end"]

    return _BLOCK.sub(replace, text)


def readmes(root: Path = ROOT) -> list[Path]:
    """The README files that git tracks."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "*README.md"),
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).exists()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Update or check all README files. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the module tables of README files.")
    parser.add_argument("--check", action="store_true", help="only report tables to update")
    check = parser.parse_args(arguments).check
    outdated = []
    for file in readmes():
        text = file.read_text("utf-8")
        if (new := updated(text)) != text:
            outdated.append(str(file.relative_to(ROOT)))
            if not check:
                file.write_text(new, "utf-8")
    if outdated:
        verb = "not up to date, run `make readmes`" if check else "updated"
        sys.stdout.write("".join(f"{name}: {verb}\n" for name in outdated))
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())

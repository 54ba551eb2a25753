"""Writes the tables of a run into a Markdown file, between two comments."""

from __future__ import annotations

import platform as machine
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .targets import CPU_PROCESSES, FIGURES, Medians, cpu_rows

BEGIN: Final = "<!-- make bench: begin -->"
END: Final = "<!-- make bench: end -->"
_SECTION: Final = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


class NoSectionError(Exception):
    """The file has no section for the tables."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} has no section between the comments {BEGIN!r} and {END!r}")


def check(file: Path) -> None:
    """Check that the tables can be written to a file.

    Raises:
        NoSectionError: the comments are missing.
    """
    if not _SECTION.search(file.read_text(encoding="utf-8")):
        raise NoSectionError(file)


def write(file: Path, medians: Medians, failures: Mapping[str, str], *, summary: str) -> None:
    """Replace the text between the comments by the tables of a run.

    Raises:
        NoSectionError: the comments are missing.
    """
    check(file)
    section = f"{BEGIN}\n{text(medians, failures, summary=summary)}{END}"
    content = file.read_text(encoding="utf-8")
    file.write_text(_SECTION.sub(lambda _: section, content, count=1), encoding="utf-8")


def text(medians: Medians, failures: Mapping[str, str], *, summary: str) -> str:
    """The tables and the failed measurements in Markdown."""
    figures = [figure for figure in FIGURES if figure.available(medians)]
    missed = sum(not figure.meets_target(medians) for figure in figures)
    targets = sum(figure.target is not None for figure in figures)
    parts = [
        f"{summary} {_processor()} {targets - missed} of {targets} targets are met.\n",
        _table(
            ("figure", "unit", "platform", "limit", "ratio", "target", "shortfall"),
            [(figure.title, figure.unit, *figure.cells(medians)) for figure in figures],
        ),
        "CPU time of all processes on the two cores, in µs per event:\n",
        _table(("stream", *CPU_PROCESSES), cpu_rows(medians)),
        *(
            f"- {name} failed: {reason.splitlines()[0]}\n"
            for name, reason in failures.items()
            if reason
        ),
    ]
    return "\n".join(parts)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _processor() -> str:
    """The processor of this machine, as one sentence."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return f"Processor: {found[1] if found else machine.machine()}."

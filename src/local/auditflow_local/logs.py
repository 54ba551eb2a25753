"""Readable logs: the services' JSON lines as text, the servers' lines unchanged."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from auditflow_local.errors import last_lines

_COLOURS: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
#: Fields that the start of the line already shows, or that do not help on one machine.
_OMITTED: Final = frozenset(
    {"timestamp", "level", "event", "service", "logger", "environment", "exception"}
)
_POLL_SECONDS: Final = 0.25


def pretty(name: str, line: str) -> str:
    """Return a log line as rich markup, with the component's name first."""
    prefix = f"[cyan]{escape(name):<24}[/]"
    try:
        data = json.loads(line)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "event" not in data:
        return f"{prefix} {escape(line)}"
    return f"{prefix} {_text(data)}"


def _text(data: dict[str, Any]) -> str:
    level = str(data.get("level", "info")).lower()
    at = str(data.get("timestamp", ""))
    clock = at.partition("T")[2][:12] or at
    rest = " ".join(f"{key}={value}" for key, value in data.items() if key not in _OMITTED)
    colour = _COLOURS.get(level, "default")
    text = f"[dim]{escape(clock)}[/] [{colour}]{level:<8} {escape(str(data['event']))}[/]"
    text += f" [dim]{escape(rest)}[/]" if rest else ""
    if trace := data.get("exception"):
        text += f"\n{escape(str(trace))}"
    return text


def tail(files: dict[str, Path], count: int) -> Iterator[tuple[str, str]]:
    """Yield the last lines of each log as (name, line)."""
    for name, file in files.items():
        for line in last_lines(file, count):
            yield name, line


def follow(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield new lines, without end. Also follows files that are created later or renamed."""
    offsets = {name: _size(file) for name, file in files.items()}
    while True:
        for name, file in files.items():
            size = _size(file)
            start = 0 if size < offsets[name] else offsets[name]
            if size == start:
                offsets[name] = size
                continue
            with file.open("rb") as stream:
                stream.seek(start)
                text = stream.read()
            # An incomplete last line is read again later.
            complete, _, _ = text.rpartition(b"\n")
            offsets[name] = start + (len(complete) + 1 if complete else 0)
            for line in complete.decode(errors="replace").splitlines():
                yield name, line
        time.sleep(_POLL_SECONDS)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

"""Logs for people: the services' JSON lines as sentences, the servers' lines as they are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from auditflow_local.errors import last_lines

_COLOURS: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
#: Said by the line's beginning already, or of no use to a reader on one machine.
_LEFT_OUT: Final = frozenset(
    {"timestamp", "level", "event", "service", "logger", "environment", "exception"}
)
_LOOK_SECONDS: Final = 0.25


def pretty(name: str, line: str) -> str:
    """One line of a log as rich markup, with the name of who said it in front."""
    front = f"[cyan]{escape(name):<24}[/]"
    try:
        data = json.loads(line)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "event" not in data:
        return f"{front} {escape(line)}"
    return f"{front} {_sentence(data)}"


def _sentence(data: dict[str, Any]) -> str:
    level = str(data.get("level", "info")).lower()
    at = str(data.get("timestamp", ""))
    clock = at.partition("T")[2][:12] or at
    rest = " ".join(f"{key}={value}" for key, value in data.items() if key not in _LEFT_OUT)
    colour = _COLOURS.get(level, "default")
    text = f"[dim]{escape(clock)}[/] [{colour}]{level:<8} {escape(str(data['event']))}[/]"
    text += f" [dim]{escape(rest)}[/]" if rest else ""
    if trace := data.get("exception"):
        text += f"\n{escape(str(trace))}"
    return text


def tail(files: dict[str, Path], count: int) -> Iterator[tuple[str, str]]:
    """The last lines of each, as (name, line)."""
    for name, file in files.items():
        for line in last_lines(file, count):
            yield name, line


def follow(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Lines as they are written, for ever; also of a file that comes later or is put aside."""
    places = {name: _size(file) for name, file in files.items()}
    while True:
        for name, file in files.items():
            size = _size(file)
            start = 0 if size < places[name] else places[name]
            if size == start:
                places[name] = size
                continue
            with file.open("rb") as stream:
                stream.seek(start)
                text = stream.read()
            # A line that is half written waits for its end.
            whole, _, _ = text.rpartition(b"\n")
            places[name] = start + (len(whole) + 1 if whole else 0)
            for line in whole.decode(errors="replace").splitlines():
                yield name, line
        time.sleep(_LOOK_SECONDS)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

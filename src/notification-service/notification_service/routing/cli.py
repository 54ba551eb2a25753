"""``auditflow routes``: checks a routing file before it is applied."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notification_service.oncall.schedule import MAX_BYTES, Calendar, CalendarError
from notification_service.routing import reading
from notification_service.routing.document import DocumentError
from notification_service.routing.tree import Tree

_TEMPLATES = ("text.j2", "html.j2", "chat.j2")


@click.group()
def routes() -> None:
    """Check the routing of notifications."""


@routes.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def lint(file: Path) -> None:
    """Check a routing FILE, and the calendars and templates beside it.

    Prints each error with line and column, and ends with 1 if there is one.
    """
    errors = list(_errors(file))
    for error in errors:
        click.echo(error)
    if errors:
        sys.exit(1)
    click.echo(f"{file}: no errors")


def _errors(file: Path) -> Iterator[str]:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        yield f"{file}: is not UTF-8"
        return
    try:
        tree = reading.read(text, name=str(file))
    except DocumentError as error:
        yield from (f"{file}:{fault}" for fault in error.faults)
        return
    yield from _calendar_errors(file.parent, tree)
    for name in _TEMPLATES:
        template = file.parent / name
        if template.exists():
            try:
                ImmutableSandboxedEnvironment().parse(template.read_text("utf-8"))
            except (TemplateError, UnicodeDecodeError) as error:
                yield f"{template}:{getattr(error, 'lineno', 1)}: {error}"


def _calendar_errors(folder: Path, tree: Tree) -> Iterator[str]:
    names = [schedule.file for schedule in tree.schedules.values()]
    for name in dict.fromkeys([*names, *(window.file for window in tree.maintenance)]):
        try:
            with (folder / name).open("rb") as opened:
                Calendar(opened.read(MAX_BYTES + 1))
        except OSError as error:
            yield f"{folder / name}: cannot be read: {error.strerror}"
        except CalendarError as error:
            yield f"{folder / name}: {error}"

"""``auditflow schemas``: the published contract as files."""

from pathlib import Path

import click

from auditflow.contract.schemas import documents


@click.group()
def schemas() -> None:
    """The JSON Schemas and the AsyncAPI document of the messages."""


@schemas.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def write(folder: Path) -> None:
    """Write all documents into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(folder / name)


@schemas.command()
@click.argument("name", type=click.Choice(sorted(documents())))
def show(name: str) -> None:
    """Print one document."""
    click.echo(documents()[name], nl=False)

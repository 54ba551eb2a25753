"""The progress of a command, on a terminal."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn


def terminal_progress(*columns: ProgressColumn) -> Progress:
    """A description and ``columns`` on stderr, until the command ends. Only on a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )

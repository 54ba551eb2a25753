"""``auditflow``: the commands of operators.

Other packages add commands with an entry point in the group ``auditflow.commands``. The name of the
entry point is the name of the command. Only the module of the command that is called is imported,
because the modules of all commands take half a second of processor time.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final

import click

_GROUP: Final = "auditflow.commands"


@cache
def _commands() -> dict[str, EntryPoint]:
    """The commands of this package and of the installed packages, by name."""
    own = (EntryPoint(name, f"auditflow.cli.{name}:{name}", _GROUP) for name in ("dlq", "schemas"))
    return {command.name: command for command in (*own, *entry_points(group=_GROUP))}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _commands().get(cmd_name)
        if found is None:
            return None
        command: click.Command = found.load()
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("auditflow"), prog_name="auditflow")
def main() -> None:
    """Operate AuditFlow: rules, archived events, dead letters, audit logs."""

"""``auditflow``: the commands of operators.

Other packages add commands with an entry point in the group ``auditflow.commands``. The name of the
entry point is the name of the command.
"""

from importlib.metadata import entry_points, version

import click

from auditflow.cli.dlq import dlq
from auditflow.cli.schemas import schemas


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("auditflow"), prog_name="auditflow")
def main() -> None:
    """Operate AuditFlow: rules, archived events, dead letters, audit logs."""


main.add_command(dlq)
main.add_command(schemas)
for _entry_point in entry_points(group="auditflow.commands"):
    main.add_command(_entry_point.load(), name=_entry_point.name)

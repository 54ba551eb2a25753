"""``auditflow rules``: lint, test, try, list and chart the rules.

Registered by an entry point in the group ``auditflow.commands``. A command is imported when it is
called, so that the other commands of ``auditflow`` do not wait for the rule engine.
"""

import logging
from importlib import import_module
from typing import Final

import click
import structlog

#: The commands, each in the module that is named, in the order in which one needs them.
_COMMANDS: Final = {
    "lint": "lint",
    "test": "run_tests",
    "backtest": "run_backtest",
    "regress": "run_regression",
    "list": "list_rules",
    "coverage": "show_coverage",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = import_module(f"audit_analysis.cli.{module}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, short_help="Lint, test, try, list and chart the detection rules.")
@click.pass_context
def rules(context: click.Context) -> None:
    """The detection rules: Sigma files, with their tests beside them.

    Without a PATH, a command is about the rules that come with AuditFlow.
    """
    # The engine logs each finding, for those who watch a service. Here the answer is the output.
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    context.call_on_close(lambda: structlog.configure(**before))

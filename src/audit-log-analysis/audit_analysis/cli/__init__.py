"""``auditflow rules``: lint, test, backtest, list and chart the rules.

Registered by an entry point in the group ``auditflow.commands``. Each command is imported when it
is called, so that other commands of ``auditflow`` do not load the rule engine.
"""

import logging
from importlib import import_module
from typing import Final

import click
import structlog

#: The commands and their modules, in the order in which a rule's author needs them.
_COMMANDS: Final = {
    "lint": "lint",
    "test": "run_tests",
    "backtest": "run_backtest",
    "compare": "compare_rules",
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


@click.group(cls=_Commands, short_help="Lint, test, backtest, list and chart detection rules.")
@click.pass_context
def rules(context: click.Context) -> None:
    """Work with the detection rules: Sigma files with their tests.

    Without a PATH, a command uses the shipped rules.
    """
    # The pipeline logs each finding, which would be noise in the output of a command.
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    context.call_on_close(lambda: structlog.configure(**before))

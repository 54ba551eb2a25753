"""The command line ``gitops``, for workflows and for people."""

from pathlib import Path

import click

from gitops.cli.annotate import annotate
from gitops.cli.build import images, record
from gitops.cli.bump import bump
from gitops.cli.change import changed, tags, touched
from gitops.cli.charts import charts
from gitops.cli.dora import dora
from gitops.cli.drift import drift
from gitops.cli.gate import gate
from gitops.cli.init import init
from gitops.cli.inspect import diff, inspect, pins, render_
from gitops.cli.promote import promote, rollback
from gitops.cli.pull_request import pr
from gitops.cli.snapshot import snapshot
from gitops.errors import GitOpsError
from gitops.git import Repository


class _Group(click.Group):
    """Shows errors of AuditFlow as a sentence, without a stack trace."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except GitOpsError as error:
            raise click.ClickException(str(error)) from None


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--directory",
    "-C",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="A clone of the repository (default: the current folder).",
)
@click.option(
    "--remote", default="origin", show_default=True, help="The git remote to which commands push."
)
@click.version_option(package_name="gitops", prog_name="gitops")
@click.pass_context
def main(context: click.Context, directory: Path, remote: str) -> None:
    """Decide what to build, show what each environment runs, promote and roll back.

    Commands that push do not change your working tree or your branches.
    """
    context.obj = Repository(directory, remote=remote)


for _command in (
    *(changed, touched, tags),
    *(images, record, gate, inspect),
    *(bump, promote, rollback, snapshot),
    *(pins, dora, drift, diff, charts, render_, pr, annotate),
    init,
):
    main.add_command(_command)

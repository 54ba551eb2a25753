"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from gitops import layout, origin
from gitops.git import Identity, Repository

#: The committer if the git configuration names no user.
_BOT: Final = Identity("auditflow-bot", "auditflow-bot@users.noreply.github.com")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def environment(help_text: str) -> Decorator:
    """The option ``--env``."""
    return click.option(
        "--env",
        "environment",
        type=click.Choice(layout.ENVIRONMENTS),
        required=True,
        help=help_text,
    )


def identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--name`` and ``--email`` of the committer."""
    email = click.option(
        "--email", envvar="GITOPS_EMAIL", show_envvar=True, help="The e-mail of the committer."
    )
    name = click.option(
        "--name",
        envvar="GITOPS_NAME",
        show_envvar=True,
        help="The name of the committer (default: the user in the git configuration).",
    )
    return name(email(function))


def committer(repository: Repository, name: str | None, email: str | None) -> Identity:
    """The committer from the options, from the git configuration, or the bot."""
    if name and email:
        return Identity(name, email)
    return repository.identity() or _BOT


branch = click.option(
    "--branch", default="main", show_default=True, help="The branch that Argo CD follows."
)

kustomize = click.option(
    "--kustomize",
    metavar="PROGRAM",
    help="The path of kustomize (default: kustomize or kubectl on PATH).",
)

#: The repository on GitHub.
repository = click.option(
    "--repository",
    "github_repository",
    envvar="GITHUB_REPOSITORY",
    default=f"{origin.OWNER}/{origin.REPOSITORY}",
    show_default=True,
    show_envvar=True,
    metavar="OWNER/NAME",
    help="The repository whose workflow must have signed the images.",
)

out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The output folder.",
)

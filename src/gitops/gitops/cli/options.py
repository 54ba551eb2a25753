"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from gitops import layout
from gitops.git import Identity, Repository

#: Who signs where git knows nobody.
_BOT: Final = Identity("auditflow-bot", "auditflow-bot@users.noreply.github.com")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def environment(help_text: str) -> Decorator:
    """``--env``, one of the three."""
    return click.option(
        "--env",
        "environment",
        type=click.Choice(layout.ENVIRONMENTS),
        required=True,
        help=help_text,
    )


def identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--name`` and ``--email``: who signs for the commit."""
    email = click.option(
        "--email", envvar="GITOPS_EMAIL", show_envvar=True, help="The address in the commit."
    )
    name = click.option(
        "--name",
        envvar="GITOPS_NAME",
        show_envvar=True,
        help="The name in the commit; the one that git knows, unless given.",
    )
    return name(email(function))


def who(repository: Repository, name: str | None, email: str | None) -> Identity:
    """The identity that those two options give, or whoever works in this clone."""
    if name and email:
        return Identity(name, email)
    return repository.identity() or _BOT


branch = click.option(
    "--branch", default="main", show_default=True, help="The branch that Argo CD follows."
)

kustomize = click.option(
    "--kustomize",
    metavar="PROGRAM",
    help="kustomize, if it is not on PATH (kubectl's is taken, too).",
)

#: The repository on GitHub, as its workflows name it.
repository = click.option(
    "--repository",
    "github_repository",
    envvar="GITHUB_REPOSITORY",
    default="jojees/project-genesis",
    show_default=True,
    show_envvar=True,
    metavar="OWNER/NAME",
    help="Whose workflow must have signed the images.",
)

out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder to write the results to.",
)

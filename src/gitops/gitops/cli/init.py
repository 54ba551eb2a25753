"""``gitops init``: rewrite a fork for its owner."""

import click

from gitops import initialise
from gitops.git import Repository


@click.command()
@click.option("--owner", required=True, help="The user or organisation on GitHub.")
@click.option("--repo", required=True, help="The name of the repository.")
@click.option("--domain", required=True, help="The DNS domain of the host names: auditflow.DOMAIN.")
@click.option(
    "--registry",
    type=click.Choice(initialise.REGISTRIES),
    default=initialise.REGISTRIES[0],
    show_default=True,
    help="The registry of the images. Also set the variable REGISTRY on GitHub.",
)
@click.pass_obj
def init(repository: Repository, *, owner: str, repo: str, domain: str, registry: str) -> None:
    """Rewrite this clone for another owner, in one commit on the current branch.

    Replaces everything that names the owner, the repository, the registry, the signer and the host
    names. The pins of another owner become unreleased. The command is idempotent. It requires a
    clean working tree and does not push.
    """
    names = initialise.Names(owner, repo, domain, registry)
    changed = initialise.initialise(repository.directory, names)
    if not changed:
        click.echo(f"already initialised for {owner}/{repo}; nothing to change")
        return
    commit = initialise.commit(repository, names)
    click.echo(f"changed {len(changed)} files in commit {commit[:12]}. Check it, then push:")
    click.echo("  git show --stat && git push origin HEAD")

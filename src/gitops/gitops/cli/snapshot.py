"""``gitops snapshot``: copy the bases into an environment's overlays in the working tree."""

import click

from gitops import layout, working_tree
from gitops.git import Repository


@click.command("snapshot")
@click.option(
    "--env",
    "environments",
    type=click.Choice(layout.ENVIRONMENTS[1:]),
    multiple=True,
    required=True,
    help="The environment whose snapshots are written. Can be repeated.",
)
@click.option("--app", "only", multiple=True, help="Only this app (default: all).")
@click.option(
    "--missing",
    is_flag=True,
    help="Write only missing files, for an overlay that uses another component.",
)
@click.pass_obj
def snapshot(
    repository: Repository,
    *,
    environments: tuple[str, ...],
    only: tuple[str, ...],
    missing: bool,
) -> None:
    """Copy apps/*/base and the components that an overlay uses into its snapshot.

    For a new overlay, and for an overlay that opts into a component. All later changes of a base
    reach the environment by `gitops promote`. Commits nothing.
    """
    root = repository.directory
    for environment in environments:
        written = working_tree.write_snapshots(root, environment, only=only, missing=missing)
        for path in written:
            click.echo(path)
        click.echo(f"{environment}: {len(written)} files written")

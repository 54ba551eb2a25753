"""``gitops bump``: pin new images."""

from pathlib import Path

import click

from gitops import bump as pinning
from gitops import layout, pins, releases
from gitops.cli import options
from gitops.git import Repository
from gitops.order import Order
from gitops.releases import Release

_RESULT_TEXTS = {
    Order.NEWER: "{service}: {after} (was {before})",
    Order.SAME: "{service}: already runs {after}",
    Order.OLDER: "{service}: keeps {before}, which is newer than {after}",
}


@click.command()
@options.environment("The environment whose pins change.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of records of `gitops record`, for several services.",
)
@click.option("--service", type=click.Choice(layout.SERVICES), help="For one service.")
@click.option("--image", help="The image repository (default: the currently pinned repository).")
@click.option("--commit", help="The commit that the image was built from, which is also its tag.")
@click.option("--digest", help="The digest in the registry: sha256:...")
@options.branch
@click.option(
    "--attempts",
    type=click.IntRange(min=1),
    default=pinning.ATTEMPTS,
    show_default=True,
    help="The maximum number of pushes to try while others push to the branch.",
)
@options.identity
@click.pass_obj
def bump(
    repository: Repository,
    *,
    environment: str,
    folder: Path | None,
    service: str | None,
    image: str | None,
    commit: str | None,
    digest: str | None,
    branch: str,
    attempts: int,
    name: str | None,
    email: str | None,
) -> None:
    """Deploy new images to an environment by one commit on the branch that Argo CD follows.

    A pin never moves to an older commit. The command is idempotent. If another push comes first,
    the command starts again from the new head of the branch. It fails without a change if the
    branch is protected, or if another push wins the race in every attempt.
    """
    if folder is not None:
        wanted = releases.read(folder)
    elif service and commit and digest:
        wanted = (
            _release(
                repository,
                service=service,
                image=image,
                commit=commit,
                digest=digest,
                environment=environment,
                branch=branch,
            ),
        )
    else:
        raise click.UsageError("give --from, or --service with --commit and --digest")
    bumped = pinning.bump(
        repository,
        wanted,
        environment=environment,
        branch=branch,
        identity=options.committer(repository, name, email),
        attempts=attempts,
    )
    for result in bumped.results:
        before = result.before.tag[:12] if result.before.released else "nothing"
        after = result.release.commit[:12]
        service_name = result.release.service
        text = _RESULT_TEXTS[result.order].format(service=service_name, before=before, after=after)
        click.echo(f" • {text}")
    if bumped.commit:
        click.echo(f"pushed {bumped.commit[:12]} to {branch}")
    else:
        click.echo("nothing to pin")


def _release(
    repository: Repository,
    *,
    service: str,
    image: str | None,
    commit: str,
    digest: str,
    environment: str,
    branch: str,
) -> Release:
    if image is None:
        tip = repository.fetch(branch) or branch
        image = pins.at(repository, tip, service, environment).image
    release = Release(
        service=service, image=image, commit=repository.resolve(commit), digest=digest
    )
    return releases.check(release, source="gitops bump")

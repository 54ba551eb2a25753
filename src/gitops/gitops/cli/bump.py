"""``gitops bump``: pin what was built."""

from pathlib import Path

import click

from gitops import bump as bumping
from gitops import layout, pins, releases
from gitops.cli import options
from gitops.git import Repository
from gitops.order import Order
from gitops.releases import Release

_SAID = {
    Order.NEWER: "{service}: {after} (was {before})",
    Order.SAME: "{service}: runs {after} already",
    Order.OLDER: "{service}: stays at {before}, which is newer than {after}",
}


@click.command()
@options.environment("Whose pins move.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of what `gitops record` wrote, for several services.",
)
@click.option("--service", type=click.Choice(layout.SERVICES), help="For one service.")
@click.option("--image", help="Its repository; the one that is pinned now, unless given.")
@click.option("--commit", help="What it was built from; its tag.")
@click.option("--digest", help="What the registry calls it: sha256:...")
@options.branch
@click.option(
    "--attempts",
    type=click.IntRange(min=1),
    default=bumping.ATTEMPTS,
    show_default=True,
    help="How many pushes of others may come in between.",
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
    """Let an environment run what was just built, by one commit on the branch that Argo CD follows.

    A pin never moves to an older commit, whatever arrives first; what arrives twice changes
    nothing. When others push at the same time, it starts again from what they pushed. It fails,
    and changes nothing, when the branch is protected against it or was pushed to each time.
    """
    if folder is not None:
        wanted = releases.read(folder)
    elif service and commit and digest:
        wanted = (
            _one(
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
    done = bumping.bump(
        repository,
        wanted,
        environment=environment,
        branch=branch,
        identity=options.who(repository, name, email),
        attempts=attempts,
    )
    for one in done.outcomes:
        before = one.before.tag[:12] if one.before.released else "nothing"
        after = one.release.commit[:12]
        said = _SAID[one.order].format(service=one.release.service, before=before, after=after)
        click.echo(f" • {said}")
    if done.commit:
        click.echo(f"pushed {done.commit[:12]} to {branch}")
    else:
        click.echo("nothing to pin")


def _one(
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
    return releases.check(release, where="gitops bump")

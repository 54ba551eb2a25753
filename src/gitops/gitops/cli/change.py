"""``gitops changed``, ``touched`` and ``tags``: what to build and to check, under which names."""

import json

import click

from gitops import changes, layout
from gitops import pins as pinned
from gitops import tags as image_tags
from gitops.errors import UnknownRevisionError
from gitops.git import Repository


@click.command()
@click.option("--base", metavar="REV", help="What it is compared with: what HEAD has since then.")
@click.option(
    "--since",
    "environment",
    type=click.Choice(layout.ENVIRONMENTS),
    help="Compare each service with the commit that this environment runs it of.",
)
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What is looked at.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array on one line.")
@click.pass_obj
def changed(
    repository: Repository, base: str | None, environment: str | None, head: str, as_json: bool
) -> None:
    """The services whose image a change would make another.

    What is in no image means none: tests, documents, manifests. What is in each means all: the
    shared library, the lock file, the Dockerfile.

    --since is how the build on main asks: a service whose last build failed, or was overtaken by
    the next push, is still unlike what runs, so it comes again by itself.
    """
    if (base is None) == (environment is None):
        raise click.UsageError("give one of --base and --since")
    head = repository.resolve(head)
    if base is not None:
        found = changes.services(repository.changed(repository.resolve(base), head))
    else:
        found = tuple(
            service
            for service in layout.SERVICES
            if _differs(repository, service, environment=environment or "", head=head)
        )
    click.echo(json.dumps(found) if as_json else "\n".join(found), nl=as_json or bool(found))


def _differs(repository: Repository, service: str, *, environment: str, head: str) -> bool:
    pin = pinned.at(repository, head, service, environment)
    if not pin.released:
        return True
    try:
        built_from = repository.resolve(pin.tag)
    except UnknownRevisionError:
        # Of a history that was rewritten. Building once too often does no harm.
        return True
    return service in changes.services(repository.changed(built_from, head))


@click.command()
@click.option("--base", metavar="REV", required=True, help="What it is compared with.")
@click.option("--head", metavar="REV", default="HEAD", show_default=True, help="What is looked at.")
@click.pass_obj
def touched(repository: Repository, base: str, head: str) -> None:
    """What CI has to look at, as outputs of a workflow's step: NAME=VALUE.

    suites are the folders of src whose tests could fail by the change; images, manifests, cluster
    and infra say whether the images, what is rendered, the way onto a cluster, or the machines
    under it could be others; base is where HEAD left.
    """
    start = repository.merge_base(base, head)
    found = changes.touched(repository.changed(start, repository.resolve(head)))
    click.echo(f"suites={json.dumps(found.suites)}")
    click.echo(f"images={json.dumps(found.images)}")
    click.echo(f"manifests={json.dumps(found.manifests)}")
    click.echo(f"cluster={json.dumps(found.cluster)}")
    click.echo(f"infra={json.dumps(found.infra)}")
    click.echo(f"base={start}")


@click.command()
@click.option("--commit", default="HEAD", show_default=True, help="What the image is built from.")
@click.option("--branch", metavar="NAME", required=True, help="The branch it is built on.")
@click.option("--image", metavar="NAME", help="Put before each tag, as NAME:TAG.")
@click.pass_obj
def tags(repository: Repository, commit: str, branch: str, image: str | None) -> None:
    """The tags of an image: the commit always, and what its branch adds.

    main adds latest; dev adds dev and dev-snapshot. Environments run digests and read none of the
    tags that move.
    """
    for tag in image_tags.of(repository.resolve(commit), branch):
        click.echo(f"{image}:{tag}" if image else tag)

"""``gitops changed``, ``touched`` and ``tags``: which images to build and which checks to run."""

import json

import click

from gitops import changes, layout
from gitops import pins as pinned
from gitops import tags as image_tags
from gitops.errors import UnknownRevisionError
from gitops.git import Repository


@click.command()
@click.option("--base", metavar="REV", help="Compare HEAD with the merge base of this revision.")
@click.option(
    "--since",
    "environment",
    type=click.Choice(layout.ENVIRONMENTS),
    help="Compare each service with the commit that this environment runs.",
)
@click.option(
    "--head", metavar="REV", default="HEAD", show_default=True, help="The revision to check."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array on one line.")
@click.pass_obj
def changed(
    repository: Repository, base: str | None, environment: str | None, head: str, as_json: bool
) -> None:
    """Print the services whose image must be rebuilt.

    Tests, documents and manifests are in no image and rebuild nothing. The shared library, the
    lock file and the Dockerfile rebuild all images.

    The build on main uses --since: a service whose last build failed or was cancelled still
    differs from the deployed commit, so the next build includes it.
    """
    if (base is None) == (environment is None):
        raise click.UsageError("give one of --base and --since")
    head = repository.resolve(head)
    if base is not None:
        services = changes.services(repository.changed(repository.resolve(base), head))
    else:
        services = tuple(
            service
            for service in layout.SERVICES
            if _differs(repository, service, environment=environment or "", head=head)
        )
    text = json.dumps(services) if as_json else "\n".join(services)
    click.echo(text, nl=as_json or bool(services))


def _differs(repository: Repository, service: str, *, environment: str, head: str) -> bool:
    pin = pinned.at(repository, head, service, environment)
    if not pin.released:
        return True
    try:
        built_from = repository.resolve(pin.tag)
    except UnknownRevisionError:
        # The history was rewritten. An unnecessary build does no harm.
        return True
    return service in changes.services(repository.changed(built_from, head))


@click.command()
@click.option("--base", metavar="REV", required=True, help="The revision to compare with.")
@click.option(
    "--head", metavar="REV", default="HEAD", show_default=True, help="The revision to check."
)
@click.pass_obj
def touched(repository: Repository, base: str, head: str) -> None:
    """Print which checks CI must run, as outputs of a workflow step (NAME=VALUE).

    suites: the folders of src whose tests can fail because of the change. images, manifests,
    cluster, infra, charts: true if the images, the rendered manifests, the cluster tests, the
    machine setup or the Helm charts can change. base: the merge base.
    """
    start = repository.merge_base(base, head)
    checks = changes.touched(repository.changed(start, repository.resolve(head)))
    click.echo(f"suites={json.dumps(checks.suites)}")
    click.echo(f"images={json.dumps(checks.images)}")
    click.echo(f"manifests={json.dumps(checks.manifests)}")
    click.echo(f"cluster={json.dumps(checks.cluster)}")
    click.echo(f"infra={json.dumps(checks.infra)}")
    click.echo(f"charts={json.dumps(checks.charts)}")
    click.echo(f"base={start}")


@click.command()
@click.option("--commit", default="HEAD", show_default=True, help="The commit of the image.")
@click.option("--branch", metavar="NAME", required=True, help="The branch of the build.")
@click.option("--image", metavar="NAME", help="Print NAME:TAG instead of TAG.")
@click.pass_obj
def tags(repository: Repository, commit: str, branch: str, image: str | None) -> None:
    """Print the tags of an image: the commit id and the moving tags of the branch.

    The branch main adds latest; dev adds dev and dev-snapshot. Environments pin digests and never
    use moving tags.
    """
    for tag in image_tags.of(repository.resolve(commit), branch):
        click.echo(f"{image}:{tag}" if image else tag)

"""``gitops images`` and ``gitops record``: build images and record pushed images."""

from pathlib import Path

import click

from gitops import images as builders
from gitops import layout, releases
from gitops.git import Repository
from gitops.releases import Release


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...", type=click.Choice(layout.SERVICES))
@click.option(
    "--tool",
    type=click.Choice(builders.TOOLS),
    help="The build tool (default: the first that works).",
)
@click.option("--tag", default="local", show_default=True, help="The tag of the built images.")
@click.pass_obj
def images(repository: Repository, services: tuple[str, ...], tool: str | None, tag: str) -> None:
    """Build the given images (default: all four) with docker, podman or buildah.

    The images are named auditflow-SERVICE:TAG. They are not pushed.
    """
    builder = builders.choose(tool)
    revision = repository.resolve("HEAD")
    for service in services or layout.SERVICES:
        name = f"{layout.IMAGE_PREFIX}{service}:{tag}"
        click.echo(f" • {builder.tool}: {name}")
        builders.build(
            builder, context=repository.directory, service=service, tag=name, revision=revision
        )


@click.command()
@click.option("--service", type=click.Choice(layout.SERVICES), required=True)
@click.option("--image", required=True, help="The image repository: registry/owner/name.")
@click.option("--commit", required=True, help="The commit that it was built from.")
@click.option("--digest", required=True, help="The digest in the registry: sha256:...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder that `gitops bump --from` reads.",
)
def record(service: str, image: str, commit: str, digest: str, out: Path) -> None:
    """Record a pushed image for the bump that runs after all builds."""
    release = Release(service=service, image=image, commit=commit, digest=digest)
    click.echo(str(releases.write(releases.check(release, source="gitops record"), out)))

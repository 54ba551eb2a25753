"""``gitops images`` and ``gitops record``: building on this machine, and what a build leaves."""

from pathlib import Path

import click

from gitops import images as builders
from gitops import layout, releases
from gitops.git import Repository
from gitops.releases import Release


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...", type=click.Choice(layout.SERVICES))
@click.option("--tool", type=click.Choice(builders.TOOLS), help="Instead of the first that works.")
@click.option("--tag", default="local", show_default=True, help="The tag of what is built.")
@click.pass_obj
def images(repository: Repository, services: tuple[str, ...], tool: str | None, tag: str) -> None:
    """Build the images here, all four or some, with docker, podman or buildah.

    They are named auditflow-SERVICE:TAG and are pushed nowhere.
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
@click.option("--image", required=True, help="Its repository: docker.io/jojees/auditflow-...")
@click.option("--commit", required=True, help="What it was built from.")
@click.option("--digest", required=True, help="What the registry calls it: sha256:...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder that `gitops bump --from` reads.",
)
def record(service: str, image: str, commit: str, digest: str, out: Path) -> None:
    """Write down that an image was pushed, for the bump that comes after all builds."""
    release = Release(service=service, image=image, commit=commit, digest=digest)
    click.echo(str(releases.write(releases.check(release, where="gitops record"), out)))

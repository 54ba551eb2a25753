"""Build images from Dockerfiles with buildah. Its storage is separate, and /etc is not changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from . import paths, shell
from .errors import CommandFailed

#: The certificate authorities that this machine trusts.
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
#: Layers of builds are kept for a day, so that the next build is fast.
_KEPT_SECONDS: Final = 86_400


def build(
    context: Path,
    tag: str,
    *,
    dockerfile: Path | None = None,
    arguments: Mapping[str, str] | None = None,
    stand_ins: Mapping[str, str] | None = None,
    trust: bool = False,
) -> None:
    """Build an image.

    :param stand_ins: the local images that replace images of the Dockerfile, by the names of these.
    :param trust: give the build the certificate authorities that this machine trusts, as the secret
        ``ca``. A build behind a company's proxy needs them. No layer contains them.
    """
    options = [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
    options += [
        f"--build-context={name}=docker-image://{image}"
        for name, image in (stand_ins or {}).items()
    ]
    if dockerfile is not None:
        options.append(f"--file={dockerfile}")
    if trust:
        options.append(f"--secret=id=ca,src={_TRUST}")
    _buildah(
        *("bud", "--isolation=chroot", "--format=docker", "--pull-never", "--layers"),
        *options,
        f"--tag={tag}",
        context,
    )


def push(tag: str, destination: str) -> None:
    """Copy an image to a registry on this machine."""
    # On the loopback, compressing layers costs more than copying them.
    _buildah(
        *("push", "--tls-verify=false", "--disable-compression", "--quiet"),
        *(tag, f"docker://{destination}"),
    )


def exists(tag: str) -> bool:
    """Whether an image of this name has been built."""
    return bool(_buildah("images", "--quiet", "--filter", f"reference={tag}").strip())


def remove_old() -> None:
    """Remove images without a name that are older than a day. Each build leaves some.

    buildah keeps an image that another image or a container uses.
    """
    listing = json.loads(_buildah("images", "--json", "--filter", "dangling=true")) or []
    for image in old_images(listing, now=time.time()):
        try:
            _buildah("rmi", image)
        except CommandFailed:
            continue


def old_images(listing: Iterable[Mapping[str, Any]], *, now: float) -> list[str]:
    """The identifiers of images that are older than a day, newest first.

    An image is newer than the images that it was built on, so it is removed before them.

    :param listing: what ``buildah images --json`` prints. ``created`` is in seconds.
    :param now: seconds since 1970.
    """
    old = [image for image in listing if now - image["created"] > _KEPT_SECONDS]
    return [str(image["id"]) for image in sorted(old, key=lambda it: -it["created"])]


def _buildah(*words: str | Path) -> str:
    return shell.run("nice", "buildah", *words, env=_environment())


def _environment() -> dict[str, str]:
    folder = paths.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    settings = (
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "storage"}"\n'
        f'runroot = "{folder / "run"}"\n'
    )
    if not storage.exists() or storage.read_text() != settings:  # another build may read it
        storage.write_text(settings)
    return {
        "CONTAINERS_STORAGE_CONF": str(storage),
        # The default isolation fails for users that may not raise limits of processes.
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": os.environ.get("TMPDIR", "/var/tmp"),
    }

"""Build images from Dockerfiles with buildah. Its storage is separate, and /etc is not changed."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from . import paths, shell
from .errors import CommandFailed

#: The certificate authorities that this machine trusts.
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
#: A line of the output of a build with the id of an image, complete or shortened.
_LAYER = re.compile(r"^--> (?:Using cache )?([0-9a-f]{11,64})$", re.MULTILINE)
#: The number of characters of the shortest id in the output.
_ID_LENGTH = 11
#: The number of untagged images of earlier builds that stay: about six versions of all services.
_KEPT_LAYERS = 150
#: The maximum number of images that are removed at once. Each needs about 0.1 s.
_REMOVED_AT_ONCE = 100


def build(
    context: Path,
    tag: str,
    *,
    dockerfile: Path | None = None,
    arguments: Mapping[str, str] | None = None,
    stand_ins: Mapping[str, str] | None = None,
    trust: bool = False,
) -> set[str]:
    """Build an image. Return the ids of its layers, which later builds use as a cache.

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
    with _lock(fcntl.LOCK_SH):
        output = _buildah(
            *("bud", "--isolation=chroot", "--format=docker", "--pull-never", "--layers"),
            *options,
            f"--tag={tag}",
            context,
        )
    return set(_LAYER.findall(output))


def remove_old_layers(used: Collection[str], *, kept: int = _KEPT_LAYERS) -> int:
    """Remove the oldest untagged images, and return their number. During a build, remove nothing.

    :param used: the layers that stay, as returned by ``build``.
    :param kept: the number of other untagged images that stay.
    """
    try:
        with _lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return _remove_old_layers({layer[:_ID_LENGTH] for layer in used}, kept)
    except (BlockingIOError, CommandFailed):
        return 0  # another program uses the images; a later build removes the layers


def _remove_old_layers(used: set[str], kept: int) -> int:
    images = json.loads(_buildah("images", "--all", "--json")) or []
    unused = [
        image for image in images if not image["names"] and image["id"][:_ID_LENGTH] not in used
    ]
    newest_first = sorted(unused, key=lambda image: image["createdatraw"], reverse=True)
    # An image is removed before its parent, which is older.
    removed = [image["id"] for image in newest_first[kept:]][-_REMOVED_AT_ONCE:]
    if removed:
        # buildah also removes parents without other children, and then does not find them. It
        # refuses parents of images that stay. In both cases, it continues with the next image.
        with suppress(CommandFailed):
            _buildah("rmi", *removed)
    return len(removed)


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


def _buildah(*words: str | Path) -> str:
    return shell.run("nice", "buildah", *words, env=_environment())


@contextmanager
def _lock(operation: int) -> Iterator[None]:
    """Hold the lock of the images. A build fails if a layer is removed after it was found."""
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, operation)
        yield


def _folder() -> Path:
    folder = paths.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _environment() -> dict[str, str]:
    folder = _folder()
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

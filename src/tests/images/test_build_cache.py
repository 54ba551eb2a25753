"""The image builder of the lab limits the size of its build cache."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from lab import buildah, shell

DOCKERFILE = """
FROM scratch AS first
COPY file /file
ENV A=1
FROM scratch
COPY --from=first /file /copy
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("buildah") is None or os.geteuid():
        pytest.skip("needs buildah and root")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def build(context: Path, content: str) -> set[str]:
    (context / "file").write_text(content)
    return buildah.build(context, "test:newest")


def stored(cache: Path) -> int:
    """The number of images, also untagged ones."""
    storage = {"CONTAINERS_STORAGE_CONF": str(cache / "auditflow-e2e/images/storage.conf")}
    return len(shell.run("buildah", "images", "--all", "--quiet", env=storage).split())


def test_old_layers_are_removed_and_used_layers_stay(context: Path, tmp_path: Path) -> None:
    # Given the layers of two builds, and of a third one
    build(context, "1")
    build(context, "2")
    build(context, "3")
    assert stored(tmp_path) == 9

    # When the last build is repeated from the cache, and old layers are removed
    used = build(context, "3")
    buildah.remove_old_layers(used, kept=0)

    # Then the tag and its two cached layers are left, and the next build uses them
    assert stored(tmp_path) == 3
    assert build(context, "3") == used


def test_newest_unused_layers_stay(context: Path, tmp_path: Path) -> None:
    build(context, "1")
    used = build(context, "2")
    assert buildah.remove_old_layers(used, kept=3) == 0
    assert stored(tmp_path) == 6


def test_nothing_is_removed_during_a_build(context: Path, tmp_path: Path) -> None:
    build(context, "1")
    build(context, "2")
    with (tmp_path / "auditflow-e2e/images/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert buildah.remove_old_layers((), kept=0) == 0
    assert stored(tmp_path) == 6

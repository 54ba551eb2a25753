"""The images that the cluster lab keeps between its runs."""

import shutil
from pathlib import Path

import pytest

from lab import buildah

_DAY = 86_400


def test_images_older_than_a_day_are_removed_newest_first() -> None:
    listing = [
        {"id": "base", "created": 1_000},
        {"id": "built on base", "created": 2_000},
        {"id": "of today", "created": 3_001},
    ]
    assert buildah.old_images(listing, now=3_001 + _DAY) == ["built on base", "base"]


@pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed")
def test_old_images_without_a_name_are_removed_and_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an image that was built twice with different files, so that the first has no name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    for text in ("first", "second"):
        (context / "file").write_text(text)
        buildah.build(context, "localhost/lab-test:1")
    assert len(_images()) == 2

    # When nothing is old, then nothing is removed
    buildah.remove_old()
    assert len(_images()) == 2

    # When both are older than a day, then the image with a name remains
    monkeypatch.setattr(buildah, "_KEPT_SECONDS", -1)
    buildah.remove_old()
    assert len(_images()) == 1
    assert buildah.exists("localhost/lab-test:1")


def _images() -> list[str]:
    return buildah._buildah("images", "--quiet", "--all").split()

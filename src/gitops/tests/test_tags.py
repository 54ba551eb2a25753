"""The tags of an image."""

import pytest
from click.testing import CliRunner

from gitops import tags
from gitops.cli import main
from gitops.errors import GitOpsError

from .forge import Clone

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("branch", "moving"),
    [
        ("main", ["latest"]),
        ("dev", ["dev", "dev-snapshot"]),
        ("staging", []),
        ("feature/latest", []),
    ],
)
def test_tags_by_branch(branch, moving):
    assert tags.of(COMMIT, branch) == (COMMIT, *moving)


@pytest.mark.parametrize("commit", ["", "main", "01234567", COMMIT.upper(), f"{COMMIT}\n"])
def test_invalid_commit_id_is_refused(commit):
    with pytest.raises(GitOpsError, match="not a full commit id"):
        tags.of(commit, "main")


def test_command(ada: Clone):
    done = CliRunner().invoke(
        main, ["-C", str(ada.directory), "tags", "--branch", "main", "--image", "docker.io/a/b"]
    )
    assert done.output == f"docker.io/a/b:{ada.head}\ndocker.io/a/b:latest\n"

"""The last release that the test of upgrades starts from."""

from pathlib import Path

import pytest

from lab import last_release, shell
from lab.errors import LabError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits, and the first one as the pinned last release."""
    folder = tmp_path / "repository"
    (folder / last_release.PINNED).parent.mkdir(parents=True)
    shell.run("git", "init", "-q", folder)
    shell.run("git", "-C", folder, "config", "user.name", "a")
    shell.run("git", "-C", folder, "config", "user.email", "a@example.org")
    _commit(folder, "first")
    (folder / last_release.PINNED).write_text(f"{_head(folder)}\n")
    _commit(folder, "second")
    return folder


def _commit(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)
    shell.run("git", "-C", folder, "add", "--all")
    shell.run("git", "-C", folder, "commit", "-q", "-m", text)


def _head(folder: Path) -> str:
    return shell.run("git", "-C", folder, "rev-parse", "HEAD").strip()


def _tag(folder: Path, name: str, at: str = "HEAD") -> None:
    shell.run("git", "-C", folder, "tag", name, at)


def test_pinned_commit_without_a_tag(repository: Path) -> None:
    name, commit = last_release.revision(repository, {})
    assert name == commit == (repository / last_release.PINNED).read_text().strip()


def test_newest_tag_before_the_commit_under_test(repository: Path) -> None:
    _tag(repository, "v1.9.0", "HEAD^")
    _commit(repository, "third")
    _tag(repository, "v1.10.0", "HEAD^")
    _tag(repository, "other")
    assert last_release.revision(repository, {})[0] == "v1.10.0"
    # the tag of the release itself is not the last release
    _tag(repository, "v1.11.0")
    assert last_release.revision(repository, {})[0] == "v1.10.0"


def test_variable_names_another_revision(repository: Path) -> None:
    _tag(repository, "v1.9.0", "HEAD^")
    assert last_release.revision(repository, {last_release.VARIABLE: "HEAD"})[1] == _head(
        repository
    )


def test_unknown_revision_is_an_error(repository: Path) -> None:
    with pytest.raises(LabError, match="does not contain missing; fetch the complete history"):
        last_release.revision(repository, {last_release.VARIABLE: "missing"})


def test_checkout_has_the_files_of_the_commit_and_is_removed(repository: Path) -> None:
    _, commit = last_release.revision(repository, {})
    with last_release.checkout(commit, repository) as folder:
        assert (folder / "file").read_text() == "first"
    assert not folder.exists()
    worktrees = shell.run("git", "-C", repository, "worktree", "list").splitlines()
    assert len(worktrees) == 1

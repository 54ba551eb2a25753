"""gitops init rewrites everything that names the owner, the repository, the registry or the host."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops import initialise, layout, origin, pin
from gitops.cli import main
from gitops.initialise import InvalidNameError, Names, rewrite

from .forge import ROOT, Clone, Forge, git, release

OLD = Names("Old-Owner", "old-repo", "old.example")
NEW = Names("New-Owner", "new-repo", "new.example")
#: Ordinary words, which a search for the bare name would find everywhere.
ORDINARY = {"auditflow", "audit", "platform"}


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.md", "https://github.com/Old-Owner/old-repo.git", "https://github.com/New-Owner/new-repo.git"),
        ("a.md", "git clone x && cd old-repo\n", "git clone x && cd new-repo\n"),
        ("a.yaml", "ghcr.io/old-owner/auditflow-*", "ghcr.io/new-owner/auditflow-*"),
        ("a.yaml", "docker.io/old-owner/auditflow-a:x", "docker.io/new-owner/auditflow-a:x"),
        ("a.yaml", "host: auditflow.old.example", "host: auditflow.new.example"),
        (".github/CODEOWNERS", "* @Old-Owner\n", "* @New-Owner\n"),
        ("clusters/a.yaml", "issuer: https://dex.old.example", "issuer: https://dex.new.example"),
        ("bootstrap/a.yaml", "url: https://argocd.old.example/", "url: https://argocd.new.example/"),
        ("clusters/a.yaml", "domainFilters: [old.example]", "domainFilters: [new.example]"),
        (
            "clusters/previews/application-set.yaml",
            "        owner: Old-Owner\n        repo: old-repo\n",
            "        owner: New-Owner\n        repo: new-repo\n",
        ),
        # unrelated text
        ("clusters/a.yaml", "owner: Old-Owner\n", "owner: Old-Owner\n"),
        ("src/a.py", "https://dex.old.example", "https://dex.old.example"),
        ("clusters/a.yaml", "mail@old.example, index.old.example", "mail@old.example, index.old.example"),
        ("a.md", "not-Old-Owner/old-repo, Old-Owner/old-repo-2", "not-Old-Owner/old-repo, Old-Owner/old-repo-2"),
        ("a.md", "@Old-Owner wrote", "@Old-Owner wrote"),
        ("CHANGELOG.md", "Old-Owner/old-repo", "Old-Owner/old-repo"),
    ],
)  # fmt: skip
def test_rewritten_text(path: str, before: str, after: str) -> None:
    assert rewrite(path, before, NEW, OLD) == after
    assert rewrite(path, after, NEW, OLD) == after


def test_a_pin_of_another_owner_becomes_unreleased() -> None:
    path = layout.release("notification-service", "prod")
    released = pin.write(release("notification-service", "ab" * 20).pin).decode()
    result = pin.read(rewrite(path, released, NEW).encode(), path=path)
    assert not result.released
    assert result.image == "ghcr.io/new-owner/auditflow-notification-service"


def test_a_released_pin_of_the_same_owner_is_kept() -> None:
    path = layout.release("notification-service", "prod")
    released = pin.write(release("notification-service", "ab" * 20).pin).decode()
    same = Names(origin.OWNER, "other-repo", origin.DOMAIN, "docker.io")
    assert rewrite(path, released, same) == released


@pytest.mark.parametrize(
    ("owner", "repository", "domain"),
    [
        ("a/b", "r", "a.example"),
        ("-a", "r", "a.example"),
        ("a", "r;rm", "a.example"),
        ("a", "", "a.example"),
        ("a", "r", "localhost"),
        ("a", "r", "https://a.example"),
    ],
)
def test_invalid_names_are_refused(owner: str, repository: str, domain: str) -> None:
    with pytest.raises(InvalidNameError, match="is not valid; expected"):
        Names(owner, repository, domain)


def run(clone: Clone, *, expect: int = 0) -> str:
    result = CliRunner().invoke(
        main,
        ["-C", str(clone.directory), "init", "--owner", "fork-owner-1", "--repo", "fork-repo-1",
         "--domain", "fork-domain-1.example"],
    )  # fmt: skip
    assert result.exit_code == expect, result.output
    return result.output


def test_uncommitted_changes_are_refused(ada: Clone) -> None:
    (ada.directory / "README.md").write_text("not committed\n")
    assert "uncommitted changes" in run(ada, expect=1)
    assert (ada.directory / "README.md").read_text() == "not committed\n"


@pytest.fixture
def copy(tmp_path: Path) -> Clone:
    """A clone of this repository at HEAD."""
    directory = tmp_path / "copy"
    git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(directory))
    return Clone(directory)


def test_no_occurrence_of_the_old_names_remains_in_this_repository(copy: Clone) -> None:
    before = copy.head

    # when a fork is initialised
    assert "changed" in run(copy)

    # then there is one commit, and a second run changes nothing
    assert git(copy.directory, "rev-list", "--count", f"{before}..HEAD") == "1"
    assert "already initialised" in rerun(copy)

    # and no file names the old owner or repository
    bare = [name for name in (origin.OWNER, origin.REPOSITORY) if name.lower() not in ORDINARY]
    forbidden = re.compile(
        "|".join(
            [
                re.escape(f"{origin.OWNER}/{origin.REPOSITORY}"),
                rf"/{re.escape(origin.OWNER.lower())}/{layout.IMAGE_PREFIX}",
                rf"auditflow\.{re.escape(origin.DOMAIN)}",
                *(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in bare),
            ]
        )
    )
    remaining = [
        f"{name}: {match[0]}"
        for name in git(copy.directory, "ls-files", "-z").split("\0")
        if name and name not in initialise.KEPT and (copy.directory / name).is_file()
        if (match := forbidden.search((copy.directory / name).read_text("utf-8", "replace")))
    ]
    assert remaining == [], "add a pattern to gitops/initialise.py, or use gitops.origin"

    # and no sign-in leads to a host of the old domain
    hosts = rf"(argocd|dex|grafana)\.{re.escape(origin.DOMAIN)}|domainFilters: \[{re.escape(origin.DOMAIN)}"
    folders = [copy.directory / name for name in ("apps", "bootstrap", "clusters", "monitoring")]
    old = [
        str(file.relative_to(copy.directory))
        for folder in folders
        for file in folder.rglob("*.yaml")
        if re.search(hosts, file.read_text("utf-8"))
    ]
    assert old == []

    # and generated files match their sources
    for command in (("-m", "monitoring.boards"), ("monitoring/make_rules.py", "--refresh")):
        subprocess.run((sys.executable, *command), cwd=copy.directory, check=True)
    assert git(copy.directory, "status", "--porcelain") == ""


def rerun(copy: Clone) -> str:
    """Run init again in a process that uses the rewritten names."""
    process = subprocess.run(
        (sys.executable, "-m", "gitops", "-C", str(copy.directory), "init", "--owner", "fork-owner-1",
         "--repo", "fork-repo-1", "--domain", "fork-domain-1.example"),
        cwd=copy.directory / "src/gitops", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_first_release_of_a_fork_pins_its_own_images(
    ada: Clone, bot: Clone, forge: Forge
) -> None:
    """After init and a build, the pins name the fork's registry."""
    run(ada)
    ada.push()
    image = pin.read(
        forge.show(layout.release("notification-service", "dev")).encode() + b"\n", path="x"
    ).image
    assert image == "ghcr.io/fork-owner-1/auditflow-notification-service"

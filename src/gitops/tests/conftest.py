"""Shared fixtures: a forge without releases, clones of a person and of the bot, fake programs."""

import os
import shutil
from pathlib import Path

import pytest

from gitops import layout, pin
from gitops.pin import Pin

from .forge import ZERO_DIGEST, Clone, Forge, Programs, git, image
from .stand_ins import GH, FakeGitHub


@pytest.fixture(autouse=True)
def _isolated_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use only the git settings of the tests."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"
        "[commit]\ngpgsign = false\n[advice]\ndetachedHead = false\n[protocol]\nversion = 2\n"
        # The repositories are small and temporary: no maintenance and no fsync.
        "[gc]\nauto = 0\n[maintenance]\nauto = false\n[receive]\nautogc = false\n"
        "[core]\nfsync = none\n"
    )
    for name in list(os.environ):
        if name.startswith(("GIT_", "GITOPS_", "GITHUB_", "GH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def forge(tmp_path: Path, initial_forge: Path) -> Forge:
    """A forge without releases."""
    bare = tmp_path / "forge.git"
    clones = tmp_path / "clones"
    clones.mkdir()
    shutil.copytree(initial_forge, bare)
    return Forge(bare, clones)


@pytest.fixture
def initial_forge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bare repository that each test copies. The first test creates it."""
    bare = tmp_path_factory.getbasetemp() / "initial-forge.git"
    if bare.exists():
        return bare
    folder = tmp_path_factory.mktemp("initial-forge")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    first = Forge(bare, folder).clone()
    files = {
        layout.release(service, environment): pin.write(
            Pin(service=service, image=image(service), tag=pin.UNRELEASED, digest=ZERO_DIGEST)
        ).decode()
        for service in layout.SERVICES
        for environment in layout.ENVIRONMENTS
    }
    sources = {f"src/{service}/main.py": "print('first')\n" for service in layout.SERVICES}
    first.commit({**files, **sources, "uv.lock": "", "README.md": "A forge.\n"}, "initial commit")
    first.push()
    return bare


@pytest.fixture
def ada(forge: Forge) -> Clone:
    """The clone of a person."""
    return forge.clone()


@pytest.fixture
def bot(forge: Forge) -> Clone:
    """The checkout of a workflow."""
    return forge.clone()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A folder at the start of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Programs(folder)


@pytest.fixture
def github(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGitHub:
    programs.add("gh", GH, language="python")
    file = tmp_path / "github.json"
    monkeypatch.setenv("FAKE_GITHUB", str(file))
    return FakeGitHub(file)

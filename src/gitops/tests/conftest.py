"""What the tests share: a forge with nothing released, a person and the bot, and other programs."""

import os
import shutil
from pathlib import Path

import pytest

from gitops import layout, pin
from gitops.pin import Pin

from .forge import NONE, Clone, Forge, Programs, git, image
from .stand_ins import GH, FakeGitHub


@pytest.fixture(autouse=True)
def _a_plain_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine, and nobody's name but ours."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"
        "[commit]\ngpgsign = false\n[advice]\ndetachedHead = false\n[protocol]\nversion = 2\n"
        # Repositories of a few commits, for a second: nothing to tidy up, nothing to outlive.
        "[gc]\nauto = 0\n[maintenance]\nauto = false\n[receive]\nautogc = false\n"
        "[core]\nfsync = none\n"
    )
    for name in list(os.environ):
        if name.startswith(("GIT_", "GITOPS_", "GITHUB_", "GH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def forge(tmp_path: Path, first_day: Path) -> Forge:
    """A forge whose main has nothing released, as this repository had on its first day."""
    bare = tmp_path / "forge.git"
    clones = tmp_path / "clones"
    clones.mkdir()
    shutil.copytree(first_day, bare)
    return Forge(bare, clones)


@pytest.fixture
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is copied for each test; made for the first one, with its settings of git."""
    bare = tmp_path_factory.getbasetemp() / "first-day.git"
    if bare.exists():
        return bare
    folder = tmp_path_factory.mktemp("first-day")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    first = Forge(bare, folder).clone()
    files = {
        layout.release(service, environment): pin.write(
            Pin(service=service, image=image(service), tag=pin.UNRELEASED, digest=NONE)
        ).decode()
        for service in layout.SERVICES
        for environment in layout.ENVIRONMENTS
    }
    sources = {f"src/{service}/main.py": "print('one')\n" for service in layout.SERVICES}
    first.commit({**files, **sources, "uv.lock": "", "README.md": "A forge.\n"}, "the first day")
    first.push()
    return bare


@pytest.fixture
def ada(forge: Forge) -> Clone:
    """A person."""
    return forge.clone()


@pytest.fixture
def bot(forge: Forge) -> Clone:
    """What a workflow has checked out."""
    return forge.clone()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A folder that comes first on PATH."""
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

"""The path of a change from a merge to prod, with a bare git repository in place of GitHub."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gitops import layout
from gitops.cli import main
from gitops.pin import Pin

from . import registry as registries
from .forge import ROOT, Clone, Forge, Programs, digest, git, image
from .registry import Registry
from .stand_ins import SIGNED, FakeGitHub, cosign, trivy

NOTIFICATION = "notification-service"


def gitops(clone: Clone, *arguments: str) -> str:
    result = CliRunner().invoke(
        main, ["-C", str(clone.directory), *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


class Store:
    """A registry of images, or a list of images if no registry is installed."""

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self.images: dict[str, str] = {}

    def image(self, service: str) -> str:
        return self._registry.image(service) if self._registry else image(service)

    def build(self, service: str, commit: str) -> str:
        """Build and push an image. Returns its digest."""
        if self._registry:
            digest_text = self._registry.push(service, commit).partition("@")[2]
        else:
            digest_text = digest(len(self.images) + 1)
        self.images[f"{self.image(service)}:{commit}@{digest_text}"] = digest_text
        return digest_text

    def has(self, pin: Pin) -> bool:
        exists = self._registry.has(pin.reference) if self._registry else True
        return exists and pin.reference in self.images


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if not registries.is_available():
        yield Store(None)
        return
    folder = tmp_path / "registry"
    folder.mkdir()
    with registries.serve(folder) as running:
        yield Store(running)


def workflow(forge: Forge, store: Store, tmp_path: Path) -> tuple[str, ...]:
    """Do what build-python-services.yml does for the newest push."""
    runner = forge.clone()
    built = json.loads(gitops(runner, "changed", "--since", "dev", "--json"))
    records = tmp_path / f"records-{runner.head}"
    records.mkdir()
    for service in built:
        gitops(
            runner, "record", "--service", service, "--image", store.image(service), "--commit",
            runner.head, "--digest", store.build(service, runner.head), "--out", str(records),
        )  # fmt: skip
    gitops(runner, "bump", "--env", "dev", "--from", str(records))
    return tuple(built)


def starts_a_build(forge: Forge, before: str) -> bool:
    """Whether the paths of the build workflow match the push from ``before`` to the head."""
    text = (ROOT / ".github/workflows/build-python-services.yml").read_text()
    patterns = yaml.safe_load(text)[True]["push"]["paths"]
    changed = git(forge.directory, "diff", "--name-only", before, "main").splitlines()
    shapes = [re.escape(glob).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for glob in patterns]
    return any(re.fullmatch(shape, path) for shape in shapes for path in changed)


def test_path_of_a_change_from_merge_to_rollback(
    ada: Clone, forge: Forge, github: FakeGitHub, programs: Programs, store: Store, tmp_path: Path
):
    cosign(programs, SIGNED)
    trivy(programs, None)

    # The first push builds all images.
    before = forge.head()
    assert workflow(forge, store, tmp_path) == layout.SERVICES
    # The push of the bump does not start a build.
    assert not starts_a_build(forge, before)

    # A merged change of one service builds only this service.
    ada.pull()
    before = forge.head()
    change = ada.commit({f"src/{NOTIFICATION}/main.py": "print('two')\n"}, "print two")
    ada.push()
    assert starts_a_build(forge, before)
    assert workflow(forge, store, tmp_path) == (NOTIFICATION,)
    assert forge.pin(NOTIFICATION, "dev").tag == change
    assert store.has(forge.pin(NOTIFICATION, "dev"))

    # Argo CD reports that dev is synced. The images are promoted to staging.
    runner = forge.clone()
    gitops(runner, "promote", "--from", "dev", "--at", forge.head(), "--inspect", "--pull-request")
    assert "print two (Ada)" in github.pull(1)["body"]
    before = forge.head()
    ada.pull()
    ada.merge("promote/staging")
    assert not starts_a_build(forge, before)

    # The images are promoted to prod.
    runner = forge.clone()
    gitops(runner, "promote", "--from", "staging", "--inspect", "--pull-request")
    assert github.pull(2)["head"] == "promote/prod"
    ada.pull()
    ada.merge("promote/prod")
    for service in layout.SERVICES:
        assert forge.pin(service, "prod") == forge.pin(service, "dev")
        assert store.has(forge.pin(service, "prod"))
        assert forge.show(layout.release(service, "prod")) == forge.show(
            layout.release(service, "dev")
        )

    # A change of a shared file builds all four images, a change of documents builds none.
    ada.commit({"uv.lock": "newer\n"})
    ada.push()
    assert workflow(forge, store, tmp_path) == layout.SERVICES
    ada.pull()
    ada.commit({"README.md": "better\n", f"src/{NOTIFICATION}/tests/test_it.py": "assert True\n"})
    ada.push()
    assert workflow(forge, store, tmp_path) == ()
    table = gitops(forge.clone(), "pins")
    assert table.count(forge.pin(NOTIFICATION, "dev").tag[:12]) == 4
    assert table.count(change[:12]) == 2

    # A bad promotion is rolled back.
    runner = forge.clone()
    gitops(runner, "promote", "--from", "dev", "--pull-request")
    ada.pull()
    good = forge.pin(NOTIFICATION, "staging")
    ada.merge("promote/staging")
    assert forge.pin(NOTIFICATION, "staging") != good
    gitops(forge.clone(), "rollback", "--env", "staging", "--pull-request")
    ada.pull()
    ada.merge("rollback/staging")
    assert forge.pin(NOTIFICATION, "staging") == good
    # the next promotion has a warning and is not merged automatically
    gitops(forge.clone(), "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert "was rolled back" in github.pull(github.numbers()[-1])["body"]
    assert not any(github.pull(number)["auto"] for number in github.numbers())


def test_help_describes_each_command_and_option():
    result = CliRunner().invoke(main, ["--help"], terminal_width=100)
    for name, command in main.commands.items():
        assert f"  {name} " in result.output
        command_help = CliRunner().invoke(main, [name, "--help"], terminal_width=100)
        assert command_help.exit_code == 0
        assert command.help
        for option in command.params:
            described = getattr(option, "help", "an argument without help")
            assert described or option.name in {
                "applications",
                "service",
                "services",
                "where",
                "number",
                "report",
                "head",
            }, (name, option)


def test_module_can_be_executed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src/gitops")}
    result = subprocess.run(
        (sys.executable, "-m", "gitops", "-C", str(ROOT), "bump", "--env", "dev"),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 2
    assert "give --from, or --service with --commit and --digest" in result.stderr

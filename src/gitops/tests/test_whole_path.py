"""From a merge to prod without GitHub: a bare repository stands for it."""

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

ONE = "notification-service"


def gitops(clone: Clone, *arguments: str) -> str:
    done = CliRunner().invoke(
        main, ["-C", str(clone.directory), *arguments], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


class Store:
    """Where images go: a registry, or what stands for one on a machine that has none."""

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self.images: dict[str, str] = {}

    def image(self, service: str) -> str:
        return self._registry.image(service) if self._registry else image(service)

    def build(self, service: str, commit: str) -> str:
        """Build and push; the digest."""
        if self._registry:
            made = self._registry.push(service, commit).partition("@")[2]
        else:
            made = digest(len(self.images) + 1)
        self.images[f"{self.image(service)}:{commit}@{made}"] = made
        return made

    def has(self, pin: Pin) -> bool:
        there = self._registry.has(pin.reference) if self._registry else True
        return there and pin.reference in self.images


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if not registries.possible():
        yield Store(None)
        return
    folder = tmp_path / "registry"
    folder.mkdir()
    with registries.serve(folder) as running:
        yield Store(running)


def workflow(forge: Forge, store: Store, tmp_path: Path) -> tuple[str, ...]:
    """What build-python-services.yml does for the newest push."""
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
    """Whether a push from ``before`` to now is one that the workflow's paths match."""
    text = (ROOT / ".github/workflows/build-python-services.yml").read_text()
    patterns = yaml.safe_load(text)[True]["push"]["paths"]
    changed = git(forge.directory, "diff", "--name-only", before, "main").splitlines()
    shapes = [re.escape(one).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for one in patterns]
    return any(re.fullmatch(shape, path) for shape in shapes for path in changed)


def test_a_change_goes_all_the_way(
    ada: Clone, forge: Forge, github: FakeGitHub, programs: Programs, store: Store, tmp_path: Path
):
    cosign(programs, SIGNED)
    trivy(programs, None)

    # The first push builds all, for nothing was ever built.
    before = forge.head()
    assert workflow(forge, store, tmp_path) == layout.SERVICES
    # The bump is a push too; it starts nothing.
    assert not starts_a_build(forge, before)

    # Somebody's change of one service is merged: only that one is built.
    ada.pull()
    before = forge.head()
    change = ada.commit({f"src/{ONE}/main.py": "print('two')\n"}, "say two")
    ada.push()
    assert starts_a_build(forge, before)
    assert workflow(forge, store, tmp_path) == (ONE,)
    assert forge.pin(ONE, "dev").tag == change
    assert store.has(forge.pin(ONE, "dev"))

    # Argo CD says that dev is synced, and staging is offered what it runs.
    runner = forge.clone()
    gitops(runner, "promote", "--from", "dev", "--at", forge.head(), "--inspect", "--pull-request")
    assert "say two (Ada)" in github.pull(1)["body"]
    before = forge.head()
    ada.pull()
    ada.merge("promote/staging")
    assert not starts_a_build(forge, before)

    # The same again, to prod.
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

    # A change of what all share builds all four, one of the documents none.
    ada.commit({"uv.lock": "newer\n"})
    ada.push()
    assert workflow(forge, store, tmp_path) == layout.SERVICES
    ada.pull()
    ada.commit({"README.md": "better\n", f"src/{ONE}/tests/test_it.py": "assert True\n"})
    ada.push()
    assert workflow(forge, store, tmp_path) == ()
    table = gitops(forge.clone(), "pins")
    assert table.count(forge.pin(ONE, "dev").tag[:12]) == 4
    assert table.count(change[:12]) == 2

    # And a promotion that went wrong is taken back.
    runner = forge.clone()
    gitops(runner, "promote", "--from", "dev", "--pull-request")
    ada.pull()
    good = forge.pin(ONE, "staging")
    ada.merge("promote/staging")
    assert forge.pin(ONE, "staging") != good
    gitops(forge.clone(), "rollback", "--env", "staging", "--pull-request")
    ada.pull()
    ada.merge("rollback/staging")
    assert forge.pin(ONE, "staging") == good
    # what is offered next says that it was there before, and does not merge itself
    gitops(forge.clone(), "promote", "--from", "dev", "--pull-request", "--auto-merge")
    assert "taken back" in github.pull(github.numbers()[-1])["body"]
    assert not any(github.pull(number)["auto"] for number in github.numbers())


def test_help_says_what_each_command_does():
    done = CliRunner().invoke(main, ["--help"], terminal_width=100)
    for name, command in main.commands.items():
        assert f"  {name} " in done.output
        said = CliRunner().invoke(main, [name, "--help"], terminal_width=100)
        assert said.exit_code == 0
        assert command.help
        for option in command.params:
            described = getattr(option, "help", "a name says it")
            assert described or option.name in {
                "service",
                "services",
                "number",
                "report",
                "head",
            }, (name, option)


def test_it_runs_as_a_module():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src/gitops")}
    done = subprocess.run(
        (sys.executable, "-m", "gitops", "-C", str(ROOT), "bump", "--env", "dev"),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give --from, or --service with --commit and --digest" in done.stderr

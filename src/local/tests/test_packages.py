"""Packages: installs only missing ones, and reports why it cannot install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from auditflow_local import packages
from auditflow_local.errors import LocalError, PackagesMissingError
from auditflow_local.packages import Package


class Machine:
    """A machine with a set of installed packages. Records the commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, *, programs: set[str]) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.installed: set[str] = set()
        self.fails: set[str] = set()
        self.policy = root / "policy-rc.d"
        monkeypatch.setattr(packages, "_POLICY", self.policy)
        monkeypatch.setattr(packages, "_CLUSTERS", root / "createcluster.conf")
        monkeypatch.setattr(packages, "_SYSTEMD", root / "no-systemd")
        monkeypatch.setattr(packages, "_LISTS", root)
        monkeypatch.setattr(
            shutil, "which", lambda name, path=None: name if name in programs else None
        )
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, argv, *, input=None, **_):
        self.ran.append(argv)
        argv = argv[1:] if argv[0] == "sudo" else argv
        if argv[0] == "install":
            Path(argv[-1]).write_text(input)
        elif argv[:2] == ("rm", "-f"):
            Path(argv[2]).unlink()
        elif "install" in argv and not (bad := self.fails & set(argv)):
            assert self.policy.exists(), "a service could have started"
            self.installed |= set(argv[argv.index("install") + 1 :])
        elif "install" in argv:
            self.fails -= bad
            return subprocess.CompletedProcess(argv, 100, "", "E: Failed to fetch")
        return subprocess.CompletedProcess(argv, 0, "", "")

    def package(self, name: str) -> Package:
        return Package(name, lambda: name in self.installed, (f"{name}.service",))

    @property
    def apt(self) -> list[str]:
        return [
            next(word for word in argv if word in {"update", "install"})
            for argv in self.ran
            if "apt-get" in argv
        ]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Machine(monkeypatch, tmp_path, programs={"apt-get", "sudo"})


def test_no_command_runs_if_no_package_is_missing(machine: Machine) -> None:
    machine.installed.add("redis-server")
    assert packages.ensure([machine.package("redis-server")]) == ()
    assert machine.ran == []


def test_only_missing_packages_are_installed_and_no_service_starts(machine: Machine) -> None:
    # given an installed package and a missing one
    machine.installed.add("redis-server")
    wanted = [machine.package("redis-server"), machine.package("rabbitmq-server")]

    # when both are required
    assert packages.ensure(wanted) == ("rabbitmq-server",)

    # then apt downloaded the package lists first, and the policy file was removed
    assert machine.apt == ["update", "install"]
    assert machine.installed == {"redis-server", "rabbitmq-server"}
    assert not machine.policy.exists()


def test_outdated_package_lists_are_downloaded_again(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "mirror_Packages").touch()
    machine.fails.add("redis-server")
    packages.ensure([machine.package("redis-server")])
    assert machine.apt == ["install", "update", "install"]


def test_an_existing_policy_file_is_kept(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 101\n")
    packages.ensure([machine.package("redis-server")])
    assert machine.policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_the_policy_file_is_removed_if_the_installation_fails(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        packages._Apt,
        "_apt",
        lambda self, *words: (_ for _ in ()).throw(LocalError("no network")),
    )
    with pytest.raises(LocalError, match="no network"):
        packages.ensure([Package("redis-server", lambda: False)])
    assert not machine.policy.exists()


def test_the_error_for_a_user_without_sudo_contains_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine = Machine(monkeypatch, tmp_path, programs={"apt-get"})
    with pytest.raises(PackagesMissingError) as error:
        packages.ensure([machine.package("redis-server"), machine.package("postgresql")])
    assert "there is no sudo" in str(error.value)
    assert "apt-get install --no-install-recommends redis-server postgresql" in str(error.value)
    assert machine.ran == []


def test_all_commands_use_sudo_for_a_user_with_sudo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine = Machine(monkeypatch, tmp_path, programs={"apt-get", "sudo"})
    packages.ensure([machine.package("redis-server")])
    assert {argv[0] for argv in machine.ran} == {"sudo"}


def test_the_error_on_a_system_without_apt_contains_the_package_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, programs=set())
    with pytest.raises(PackagesMissingError, match="no apt-get"):
        packages.ensure([machine.package("redis-server")])

"""Building on this machine."""

import shutil

import pytest
from click.testing import CliRunner

from gitops import images, layout
from gitops.cli import main
from gitops.errors import GitOpsError, ProgramMissingError

from .forge import Clone, Programs

#: Writes down how it was called.
NOTES = 'echo "$0 $*" >>"$(dirname "$0")/calls"'


@pytest.fixture
def alone(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A machine with git, and with what the test adds."""
    monkeypatch.setattr(shutil, "which", lambda name: next(
        (str(one) for one in programs.folder.iterdir() if one.name == name), None
    ))  # fmt: skip
    return programs


def calls(programs: Programs) -> list[str]:
    return (programs.folder / "calls").read_text().replace(f"{programs.folder}/", "").splitlines()


def test_the_first_that_works_builds_all_four(alone: Programs, ada: Clone, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    alone.add("docker", "exit 1")  # its daemon is not running
    alone.add("buildah", NOTES)
    done = CliRunner().invoke(main, ["-C", str(ada.directory), "images"])
    assert done.exit_code == 0, done.output
    assert calls(alone) == [
        f"buildah build --file={ada.directory}/src/Dockerfile --build-arg=SERVICE={service}"
        f" --build-arg=VERSION={ada.head} --build-arg=REVISION={ada.head}"
        f" --tag=auditflow-{service}:local {ada.directory}"
        for service in layout.SERVICES
    ]


def test_some_and_with_what_is_asked_for(alone: Programs, ada: Clone, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    for tool in images.TOOLS:
        alone.add(tool, NOTES)
    done = CliRunner().invoke(
        main,
        [
            "-C",
            str(ada.directory),
            "images",
            "notification-service",
            "--tool",
            "podman",
            "--tag",
            "x",
        ],
    )
    assert done.output == " • podman: auditflow-notification-service:x\n"
    assert "--secret=id=ca,src=/etc/ca.pem" in calls(alone)[0]


def test_a_build_that_fails_is_heard(alone: Programs, ada: Clone):
    alone.add("buildah", "exit 3")
    done = CliRunner().invoke(main, ["-C", str(ada.directory), "images"])
    assert done.exit_code == 1
    assert "buildah build" in done.output


def test_a_machine_that_cannot(alone: Programs):
    with pytest.raises(ProgramMissingError, match="docker or podman or buildah"):
        images.choose()
    with pytest.raises(ProgramMissingError, match="podman is not on PATH"):
        images.choose("podman")
    alone.add("docker", "exit 1")
    with pytest.raises(GitOpsError, match="daemon does not answer"):
        images.choose()
    alone.add("docker", "exit 0")
    assert images.choose().tool == "docker"

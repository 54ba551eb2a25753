"""Building images on this machine."""

import shutil

import pytest
from click.testing import CliRunner

from gitops import images, layout
from gitops.cli import main
from gitops.errors import GitOpsError, ProgramMissingError

from .forge import Clone, Programs

#: A script that records its arguments.
RECORD_CALL = 'echo "$0 $*" >>"$(dirname "$0")/calls"'


@pytest.fixture
def empty_machine(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A machine on which only the programs that the test adds are installed."""
    monkeypatch.setattr(shutil, "which", lambda name: next(
        (str(file) for file in programs.folder.iterdir() if file.name == name), None
    ))  # fmt: skip
    return programs


def calls(programs: Programs) -> list[str]:
    return (programs.folder / "calls").read_text().replace(f"{programs.folder}/", "").splitlines()


def test_first_working_tool_builds_all_images(empty_machine: Programs, ada: Clone, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    empty_machine.add("docker", "exit 1")  # its daemon is not running
    empty_machine.add("buildah", RECORD_CALL)
    result = CliRunner().invoke(main, ["-C", str(ada.directory), "images"])
    assert result.exit_code == 0, result.output
    assert calls(empty_machine) == [
        f"buildah build --file={ada.directory}/src/Dockerfile --build-arg=SERVICE={service}"
        f" --build-arg=VERSION={ada.head} --build-arg=REVISION={ada.head}"
        f" --tag=auditflow-{service}:local {ada.directory}"
        for service in layout.SERVICES
    ]


def test_selected_service_tool_and_tag(empty_machine: Programs, ada: Clone, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    for tool in images.TOOLS:
        empty_machine.add(tool, RECORD_CALL)
    result = CliRunner().invoke(
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
    assert result.output == " • podman: auditflow-notification-service:x\n"
    assert "--secret=id=ca,src=/etc/ca.pem" in calls(empty_machine)[0]


def test_failed_build_is_reported(empty_machine: Programs, ada: Clone):
    empty_machine.add("buildah", "exit 3")
    result = CliRunner().invoke(main, ["-C", str(ada.directory), "images"])
    assert result.exit_code == 1
    assert "buildah build" in result.output


def test_machine_without_a_working_tool(empty_machine: Programs):
    with pytest.raises(ProgramMissingError, match="docker or podman or buildah"):
        images.choose()
    with pytest.raises(ProgramMissingError, match="podman is not on PATH"):
        images.choose("podman")
    empty_machine.add("docker", "exit 1")
    with pytest.raises(GitOpsError, match="daemon does not answer"):
        images.choose()
    empty_machine.add("docker", "exit 0")
    assert images.choose().tool == "docker"

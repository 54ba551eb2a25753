"""The workflows, run from the event to the push by act (``act.py``)."""

import re
import shutil
from pathlib import Path

import pytest

from gitops import layout

from .act import SLUG, WORKFLOWS, Act
from .forge import Clone, Forge, Programs, git
from .stand_ins import FakeGitHub

pytestmark = [pytest.mark.soak, pytest.mark.computes]
BUILD = "build-python-services.yml"
NOTIFICATION = "notification-service"


@pytest.fixture
def act(ada: Clone, forge: Forge, programs: Programs, github: FakeGitHub, tmp_path: Path) -> Act:
    """A forge with the workflows of this repository."""
    shutil.copytree(WORKFLOWS, ada.directory / ".github/workflows")
    ada.commit({}, "Add the workflows")
    ada.push()
    folder = tmp_path / "act"
    folder.mkdir()
    return Act(forge, programs, folder)


def test_path_of_a_change_from_the_push_to_the_rollback(
    act: Act, ada: Clone, forge: Forge, github: FakeGitHub
) -> None:
    # When a change is pushed to main
    change = forge.head()
    run = act.run(BUILD, "push", {})

    # Then each service is tested, built, signed and pinned in dev
    assert run.succeeded, run.output
    for service in layout.SERVICES:
        assert run.called(f"make test MARK=soak or not soak ARGS=src/auditflow src/{service} ")
        pin = forge.pin(service, "dev")
        assert pin.tag == change
        assert pin.image == f"ghcr.io/{SLUG.partition('/')[0]}/auditflow-{service}"
    assert forge.log()[0].startswith("Deploy ")

    # And a public repository has attestations and code scanning in every plan
    assert len(run.called("actions/attest")) == 3 * len(layout.SERVICES)
    assert run.called("github/codeql-action")

    # When the promoter reports that dev is ready
    payload = {"client_payload": {"environment": "dev", "revision": forge.head()}}
    run = act.run("promote.yml", "repository_dispatch", {"action": "auditflow-synced", **payload})

    # Then a pull request promotes it to staging
    assert run.succeeded, run.output
    assert github.pull(1)["head"] == "promote/staging"
    ada.pull()
    ada.merge("promote/staging")
    assert forge.pin(NOTIFICATION, "staging").tag == change

    # When a person starts the rollback of one service
    inputs = {"environment": "staging", "service": NOTIFICATION, "accept-migration": "true"}
    run = act.run("rollback.yml", "workflow_dispatch", {"inputs": inputs})

    # Then the inputs arrive as arguments, and empty inputs as none
    (call,) = run.called("uv run --frozen --no-dev --package gitops gitops rollback")
    assert call.endswith(
        f"gitops rollback staging {NOTIFICATION} --accept-migration --pull-request"
    ), run.output


@pytest.mark.parametrize("included", [False, True])
def test_first_release_of_a_private_repository_uses_only_features_of_its_plan(
    included: bool, act: Act, forge: Forge
) -> None:
    # Given a private repository whose plan does not include attestations and code scanning
    commit = forge.head()
    payload = {"repository": {"full_name": SLUG, "private": True}}
    variables = {"ATTESTATIONS": "true", "CODE_SECURITY": "true"} if included else {}

    # When a person starts the first release
    run = act.run(BUILD, "workflow_dispatch", payload, variables=variables)

    # Then all images are signed and pinned, and only actions of the plan run
    assert run.succeeded, run.output
    assert len(run.called("cosign sign")) == len(layout.SERVICES)
    assert {forge.pin(service, "dev").tag for service in layout.SERVICES} == {commit}
    assert len(run.called("actions/attest")) == (3 * len(layout.SERVICES) if included else 0)
    assert bool(run.called("github/codeql-action")) == included


def test_prod_is_not_promoted_further(act: Act, forge: Forge, github: FakeGitHub) -> None:
    payload = {"client_payload": {"environment": "prod", "revision": forge.head()}}
    run = act.run("promote.yml", "repository_dispatch", {"action": "auditflow-synced", **payload})
    assert run.succeeded, run.output
    assert not run.calls
    assert not github.numbers()


def pull_request(forge: Forge, base: str, *labels: str) -> dict[str, object]:
    repository = {"full_name": SLUG, "fork": False}
    head = {"sha": forge.head(), "ref": "change", "repo": repository}
    return {
        "action": "opened",
        "number": 1,
        "repository": {"full_name": SLUG, "private": False},
        "pull_request": {
            "number": 1,
            "base": {"sha": base, "ref": "main"},
            "head": head,
            "labels": [{"name": label} for label in labels],
        },
    }


def test_ci_of_a_document_runs_no_tests(act: Act, ada: Clone, forge: Forge) -> None:
    base = forge.head()
    ada.pull()
    ada.commit({"docs/a.md": "better\n"})
    ada.push()
    run = act.run("ci.yml", "pull_request", pull_request(forge, base))
    assert run.succeeded, run.output
    assert run.result("ci") == "succeeded"
    assert run.result("cluster") == "skipped"
    assert run.called("make lint")
    assert not run.called("make e2e")
    assert not run.called("make images")


@pytest.mark.parametrize("failing", ["lint", "images"])
def test_ci_fails_if_a_job_fails(act: Act, ada: Clone, forge: Forge, failing: str) -> None:
    # Given a change of the library, which all services contain
    base = forge.head()
    ada.pull()
    ada.commit({"src/auditflow/a.py": "A = 1\n"})
    ada.push()

    # When one job fails, then the required check fails, and the other jobs run
    run = act.run("ci.yml", "pull_request", pull_request(forge, base), failing=failing)
    assert run.result(failing) == "failed", run.output
    assert run.result("ci") == "failed"
    assert run.called("make lint")
    assert len(run.called("make test")) > 4
    assert git(ada.directory, "rev-parse", "HEAD") == forge.head()


def test_end_to_end_test_runs_on_the_runner_of_the_variable(act: Act) -> None:
    # Without the variable, nothing runs
    run = act.run("end-to-end.yml", "schedule", {})
    assert run.succeeded, run.output
    assert not run.calls

    # With it, all steps run
    runner = {"LAB_RUNNER": "ubuntu-24.04"}
    run = act.run("end-to-end.yml", "schedule", {}, variables=runner)
    assert run.succeeded, run.output
    assert run.calls == ("make e2e ALL=1",)

    # After a failure, the reports are kept
    run = act.run("end-to-end.yml", "workflow_dispatch", {}, variables=runner, failing="e2e")
    assert not run.succeeded
    assert "Success - Main actions/upload-artifact" in run.output, run.output


def test_delivery_report_of_each_environment(act: Act) -> None:
    run = act.run("delivery-report.yml", "workflow_dispatch", {"inputs": {"months": "3"}})
    assert run.succeeded, run.output
    for environment in layout.ENVIRONMENTS:
        words = f"gitops dora --env {environment} --months 3"
        assert run.called(f"uv run --frozen --no-dev --package gitops {words}"), run.output


@pytest.mark.parametrize("labels", [(), ("preview",)])
def test_label_starts_the_images_of_a_preview(
    act: Act, forge: Forge, labels: tuple[str, ...]
) -> None:
    event = pull_request(forge, forge.head(), *labels)
    run = act.run("preview.yml", "pull_request", event)
    assert run.succeeded, run.output
    expected = [
        f"ghcr.io/{SLUG.partition('/')[0]}/auditflow-{service}:preview-{forge.head()}"
        for service in sorted(layout.SERVICES)
    ]
    found = re.findall(r"image=(ghcr\.io/\S+)", run.output)
    assert sorted(set(found)) == (expected if labels else [])

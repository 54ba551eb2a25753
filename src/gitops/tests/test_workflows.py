"""The workflows: permissions, triggers, and that no workflow can start itself."""

import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml

from gitops import changes, layout
from gitops.cli import main

from . import programs
from .forge import ROOT, image

FOLDER = ROOT / ".github/workflows"
NAMES = sorted(file.name for file in FOLDER.glob("*.yml"))
#: Triggers that run untrusted code or use untrusted text with write permissions.
FORBIDDEN_TRIGGERS = {
    "pull_request_target",
    "workflow_run",
    "issue_comment",
    "issues",
    "discussion",
}
#: Expressions whose value a pull request, a branch name or a message can choose.
UNTRUSTED = re.compile(
    r"\$\{\{[^}]*\b(github\.event|github\.head_ref|github\.ref_name|inputs|matrix|steps|needs)\b"
)


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in NAMES:
        for key, job in workflow(name)["jobs"].items():
            yield f"{name}: {key}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for job_name, job in jobs():
        for step in job.get("steps", ()):
            yield f"{job_name}: {step.get('name', step.get('uses', step.get('run')))}", step


def triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as true.
    found = workflow(name)[True]
    return found if isinstance(found, dict) else dict.fromkeys(found)


def written_by_the_bot() -> set[str]:
    return {
        layout.release(service, environment)
        for service in layout.SERVICES
        for environment in layout.ENVIRONMENTS
    }


def test_all_workflows_exist():
    assert set(NAMES) >= {
        "ci.yml", "build-python-services.yml", "build-single-service.yml", "promote.yml",
        "rollback.yml", "scheduled.yml",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_push_of_the_bot_starts_no_workflow(name):
    """A workflow that starts on a push lists its paths, and no pin matches them."""
    push = triggers(name).get("push", "nothing")
    if push == "nothing":
        return
    patterns = (push or {}).get("paths")
    assert patterns, f"{name} starts on every push, even on its own push"
    for path in written_by_the_bot():
        # GitHub's * does not match a slash; this test is stricter
        assert not any(fnmatchcase(path, pattern) for pattern in patterns)


@pytest.mark.parametrize("name", NAMES)
def test_pull_requests_of_the_bot_start_only_checks(name):
    """Workflows that run on pull requests (also on promote/* and rollback/*) push nothing."""
    started = triggers(name)
    if "pull_request" not in started:
        return
    text = (FOLDER / name).read_text()
    for command in ("gitops bump", "gitops promote", "gitops rollback", "git push", "gh pr create"):
        assert command not in text
    assert "contents: write" not in text


def test_onboarding_page_enables_the_workflows_with_a_schedule():
    """In a fork, GitHub disables them one by one."""
    page = (ROOT / "docs/how-to/fork-to-first-alert.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| the tab Actions |")]
    scheduled = {workflow(name)["name"] for name in NAMES if "schedule" in triggers(name)}
    assert scheduled == set(re.findall(r"\*([^*]+)\*", row.partition("stay disabled:")[2])) - {
        "Enable workflow"
    }


def test_build_starts_on_every_shared_file():
    paths = triggers("build-python-services.yml")["push"]["paths"]
    for pattern in changes.SHARED:
        assert any(fnmatchcase(pattern, path.replace("**", "*")) for path in paths), pattern


@pytest.mark.parametrize("name", NAMES)
def test_no_forbidden_trigger_is_used(name):
    assert not FORBIDDEN_TRIGGERS & set(triggers(name))


@pytest.mark.parametrize("name", NAMES)
def test_default_permissions_are_read_only(name):
    assert workflow(name)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", NAMES)
def test_each_write_permission_has_a_reason(name):
    for line in (FOLDER / name).read_text().splitlines():
        if re.search(r"^\s+(permission-)?[a-z-]+: write\b", line):
            assert re.search(r": write # \w+", line), line


def test_each_job_has_a_timeout():
    for job_name, job in jobs():
        assert "uses" in job or job.get("timeout-minutes", 361) <= 90, job_name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "build-single-service.yml"])
def test_runs_of_a_workflow_do_not_overlap(name):
    assert workflow(name)["concurrency"]["group"]


def test_actions_are_pinned_by_commit_with_a_version_comment():
    pinned: dict[str, set[str]] = {}
    for name in NAMES:
        for line in (FOLDER / name).read_text().splitlines():
            if not (found := re.search(r"^\s*-?\s*uses: (.+)$", line)) or "uses: ./" in line:
                continue
            exact = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40}) # v\d+(\.\d+)*", found[1])
            assert exact, line
            pinned.setdefault("/".join(exact[1].split("/")[:2]), set()).add(
                found[1].partition("@")[2]
            )
    # each action has one version
    assert {action: refs for action, refs in pinned.items() if len(refs) > 1} == {}


def test_untrusted_expressions_are_not_used_in_shell():
    for step_name, step in steps():
        assert not UNTRUSTED.search(step.get("run", "")), step_name


def test_checkout_does_not_keep_the_token():
    for step_name, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, step_name


def test_secrets_are_used_only_in_the_release_environment():
    """The rules of this environment restrict the branches."""
    for job_name, job in jobs():
        used = set(re.findall(r"secrets\.(\w+)", str(job))) - {"GITHUB_TOKEN"}
        assert not used or "uses" in job or job.get("environment") == "release", job_name


def test_inputs_of_the_reusable_build():
    call = triggers("build-single-service.yml")["workflow_call"]
    assert set(call["inputs"]) == {
        "service_name",
        "docker_org",
        "docker_repo_prefix",
        "ref_name",
        "github_sha",
        "registry",
    }
    assert call["inputs"]["registry"]["default"] == "ghcr.io"
    assert set(call["secrets"]) == {"DOCKER_USERNAME", "DOCKER_PASSWORD"}
    given = workflow("build-python-services.yml")["jobs"]["build"]
    assert set(given["with"]) == set(call["inputs"])
    assert set(given["secrets"]) == set(call["secrets"])


def test_image_is_tagged_and_signed_only_after_the_gate():
    """An image with a critical vulnerability that has a fix gets no tag, signature or record."""
    runs = [str(step) for step in workflow("build-single-service.yml")["jobs"]["image"]["steps"]]
    gate = next(at for at, step in enumerate(runs) if "gitops gate" in step)
    for word in ("cosign sign", "actions/attest@", "gitops tags", "gitops record"):
        assert all(at > gate for at, step in enumerate(runs) if word in step), word
    assert "push-by-digest=true" in "".join(runs[:gate])


def test_ci_job_needs_all_other_jobs():
    all_jobs = workflow("ci.yml")["jobs"]
    assert set(all_jobs["ci"]["needs"]) == set(all_jobs) - {"ci"}
    assert all_jobs["ci"]["if"] == "always()"


@pytest.mark.parametrize(
    ("results", "code"),
    [("success skipped", 0), ("success failure", 1), ("cancelled", 1), ("skipped", 0)],
)
def test_ci_job_accepts_skipped_jobs_and_refuses_failed_jobs(results, code):
    script = workflow("ci.yml")["jobs"]["ci"]["steps"][0]["run"]
    assert (
        subprocess.run(
            ("bash", "-ec", script), env={"RESULTS": results}, check=False, capture_output=True
        ).returncode
        == code
    )


def test_workflows_call_existing_commands_and_options():
    """Each option that a workflow gives to gitops exists."""
    known = {
        name: {word for parameter in command.params for word in parameter.opts}
        for name, command in main.commands.items()
    }
    found = 0
    for step_name, step in steps():
        text = step.get("run", "").replace("\\\n", " ")
        for name, rest in re.findall(r"--package gitops gitops (\S+)([^|\n]*)", text):
            found += 1
            assert name in known, step_name
            options = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            assert options <= known[name], step_name
    assert found >= 10


def test_uv_has_one_version():
    setup = re.search(r"UV_VERSION=(\S+)", (ROOT / "src/local/setup.sh").read_text())
    versions = {
        step["with"]["version"] for _, step in steps() if "setup-uv@" in step.get("uses", "")
    }
    assert setup
    assert versions == {setup[1]}


def test_actionlint_finds_nothing():
    """actionlint also runs shellcheck on the shell scripts."""
    process = subprocess.run(
        (programs.actionlint(), "-shellcheck", programs.installed("shellcheck"), *(FOLDER / name for name in NAMES)),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout


def test_zizmor_finds_nothing():
    process = subprocess.run(
        (programs.installed("zizmor"), "--persona=pedantic", "--offline", "--no-progress", ".github"),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr


def test_hadolint_finds_nothing():
    process = subprocess.run(
        (programs.installed("hadolint"), "src/Dockerfile"),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize(
    ("environment", "has_owner"), [("dev", False), ("staging", False), ("prod", True)]
)
def test_code_owners_review_pins_of_prod_only(environment, has_owner):
    lines = (ROOT / ".github/CODEOWNERS").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    for service in layout.SERVICES:
        path = f"/{layout.release(service, environment)}"
        fits = [rule for rule in rules if rule[0] == "*" or fnmatchcase(path, f"{rule[0]}*")]
        assert bool(fits[-1][1:]) is has_owner


def test_renovate_ignores_the_pins():
    settings = json.loads((ROOT / "renovate.json").read_text())
    assert "apps/*/envs/*/release/**" in settings["ignorePaths"]
    off = [rule for rule in settings["packageRules"] if rule.get("enabled") is False]
    ours = re.compile(off[0]["matchPackageNames"][0].strip("/"))
    for service in layout.SERVICES:
        assert ours.search(image(service))


def test_k3d_uses_the_k3s_version_of_the_nodes():
    k3d = yaml.safe_load((ROOT / ".github/k3d.yaml").read_text())
    role = (ROOT / "infra/ansible/roles/k3s_binary/defaults/main.yaml").read_text()
    version = yaml.safe_load(role)["k3s_binary_version"]
    image, _, digest = k3d["image"].partition("@")
    assert image == f"docker.io/rancher/k3s:{version.replace('+', '-')}"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)


def test_ci_pushes_images_to_the_registry_of_k3d():
    k3d = yaml.safe_load((ROOT / ".github/k3d.yaml").read_text())["registries"]
    ci = (ROOT / ".github/workflows/ci.yml").read_text()
    registry = k3d["create"]
    assert f"E2E_REGISTRY: {registry['host']}:{registry['hostPort']} " in ci
    first = yaml.safe_load(k3d["config"])["mirrors"]["docker.io"]["endpoint"][0]
    assert first == f"http://{registry['name']}:5000"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("src/Dockerfile", {"docker.io/library/python", "ghcr.io/astral-sh/uv"}),
        ("src/local/setup.sh", {"uv"}),
        (".github/workflows/ci.yml", {"uv", "checkov"}),
        ("apps/platform/argo-rollouts/kustomization.yaml", {"argoproj/argo-rollouts"}),
        ("bootstrap/argocd/upstream/kustomization.yaml", {"argoproj/argo-cd"}),
        ("clusters/monitoring/crds.yaml", {"kube-prometheus-stack"}),
        ("infra/ansible/roles/k3s_binary/defaults/main.yaml", {"k3s-io/k3s"}),
        (".github/k3d.yaml", {"docker.io/rancher/k3s"}),
    ],
)
def test_custom_managers_of_renovate_find_all_versions(file, expected):
    """Run the regular expressions of renovate.json on the files."""
    found = set()
    for manager in json.loads((ROOT / "renovate.json").read_text())["customManagers"]:
        if not any(
            re.search(pattern.strip("/"), file) for pattern in manager["managerFilePatterns"]
        ):
            continue
        for pattern in manager["matchStrings"]:
            for match in re.finditer(pattern.replace("(?<", "(?P<"), (ROOT / file).read_text()):
                assert match["currentValue"]
                found.add(match.groupdict().get("depName") or manager["depNameTemplate"])
    assert found == expected

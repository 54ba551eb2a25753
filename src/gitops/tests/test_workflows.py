"""The workflows: what they may, what starts them, and that nothing of them can start itself."""

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
from .forge import ROOT

FOLDER = ROOT / ".github/workflows"
NAMES = sorted(file.name for file in FOLDER.glob("*.yml"))
#: What runs code of others' pull requests, or passes their words on, with our rights.
NEVER = {"pull_request_target", "workflow_run", "issue_comment", "issues", "discussion"}
#: Who may write in GitHub's text: whoever opens a pull request, names a branch, sends a message.
OF_OTHERS = re.compile(
    r"\$\{\{[^}]*\b(github\.event|github\.head_ref|github\.ref_name|inputs|matrix|steps|needs)\b"
)


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in NAMES:
        for key, job in workflow(name)["jobs"].items():
            yield f"{name}: {key}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, job in jobs():
        for step in job.get("steps", ()):
            yield f"{place}: {step.get('name', step.get('uses', step.get('run')))}", step


def triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 takes the key "on" for a truth.
    found = workflow(name)[True]
    return found if isinstance(found, dict) else dict.fromkeys(found)


def written_by_the_bot() -> set[str]:
    return {
        layout.release(service, environment)
        for service in layout.SERVICES
        for environment in layout.ENVIRONMENTS
    }


def test_all_that_the_design_names_are_there():
    assert set(NAMES) >= {
        "ci.yml", "build-python-services.yml", "build-single-service.yml", "promote.yml",
        "rollback.yml", "scheduled.yml",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_the_bot_pushes_starts_no_workflow(name):
    """A workflow that starts on a push names its paths, and no pin is among them."""
    push = triggers(name).get("push", "nothing")
    if push == "nothing":
        return
    patterns = (push or {}).get("paths")
    assert patterns, f"{name} starts on every push, also on its own"
    for path in written_by_the_bot():
        # GitHub's * stops at a slash; to let it cross one is to match more, not less
        assert not any(fnmatchcase(path, pattern) for pattern in patterns)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_bot_pushes_to_its_branches_starts_only_checks(name):
    """promote/* and rollback/* become pull requests; what those start pushes nothing."""
    started = triggers(name)
    if "pull_request" not in started:
        return
    text = (FOLDER / name).read_text()
    for command in ("gitops bump", "gitops promote", "gitops rollback", "git push", "gh pr create"):
        assert command not in text
    assert "contents: write" not in text


def test_what_builds_starts_on_all_that_is_built():
    paths = triggers("build-python-services.yml")["push"]["paths"]
    for pattern in changes.SHARED:
        assert any(fnmatchcase(pattern, one.replace("**", "*")) for one in paths), pattern


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_others_code_with_our_rights(name):
    assert not NEVER & set(triggers(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_only_read(name):
    assert workflow(name)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", NAMES)
def test_each_right_beyond_has_its_reason(name):
    for line in (FOLDER / name).read_text().splitlines():
        if re.search(r"^\s+(permission-)?[a-z-]+: write\b", line):
            assert re.search(r": write # \w+", line), line


def test_each_job_has_a_time_limit():
    for place, job in jobs():
        assert "uses" in job or job.get("timeout-minutes", 361) <= 90, place


@pytest.mark.parametrize("name", [one for one in NAMES if one != "build-single-service.yml"])
def test_runs_of_the_same_do_not_overlap(name):
    assert workflow(name)["concurrency"]["group"]


def test_actions_are_pinned_by_commit_with_the_version_beside():
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
    # one version of each, or an update was forgotten somewhere
    assert {action: refs for action, refs in pinned.items() if len(refs) > 1} == {}


def test_no_text_of_others_is_taken_for_shell():
    for place, step in steps():
        assert not OF_OTHERS.search(step.get("run", "")), place


def test_no_token_stays_in_a_checkout():
    for place, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, place


def test_secrets_are_in_the_release_environment_only():
    """Its rule says which branches may use them."""
    for place, job in jobs():
        used = {one for one in re.findall(r"secrets\.(\w+)", str(job)) if one != "GITHUB_TOKEN"}
        assert not used or "uses" in job or job.get("environment") == "release", place


def test_the_reusable_build_takes_what_the_first_version_took():
    call = triggers("build-single-service.yml")["workflow_call"]
    assert set(call["inputs"]) == {
        "service_name",
        "docker_org",
        "docker_repo_prefix",
        "ref_name",
        "github_sha",
    }
    assert set(call["secrets"]) == {"DOCKER_USERNAME", "DOCKER_PASSWORD"}
    given = workflow("build-python-services.yml")["jobs"]["build"]
    assert set(given["with"]) == set(call["inputs"])
    assert set(given["secrets"]) == set(call["secrets"])


def test_nothing_is_tagged_or_signed_before_the_gate():
    """An image with something critical that could be mended has no name, signature or record."""
    runs = [str(step) for step in workflow("build-single-service.yml")["jobs"]["image"]["steps"]]
    gate = next(at for at, step in enumerate(runs) if "gitops gate" in step)
    for word in ("cosign sign", "actions/attest@", "gitops tags", "gitops record"):
        assert all(at > gate for at, step in enumerate(runs) if word in step), word
    assert "push-by-digest=true" in "".join(runs[:gate])


def test_one_check_sums_up_all():
    all_jobs = workflow("ci.yml")["jobs"]
    assert set(all_jobs["ci"]["needs"]) == set(all_jobs) - {"ci"}
    assert all_jobs["ci"]["if"] == "always()"


@pytest.mark.parametrize(
    ("results", "code"),
    [("success skipped", 0), ("success failure", 1), ("cancelled", 1), ("skipped", 0)],
)
def test_what_was_not_needed_is_no_failure(results, code):
    script = workflow("ci.yml")["jobs"]["ci"]["steps"][0]["run"]
    assert (
        subprocess.run(
            ("bash", "-ec", script), env={"RESULTS": results}, check=False, capture_output=True
        ).returncode
        == code
    )


def test_each_command_of_ours_is_called_as_it_is():
    """Each option that a workflow gives to gitops exists."""
    known = {
        name: {word for one in command.params for word in one.opts}
        for name, command in main.commands.items()
    }
    found = 0
    for place, step in steps():
        text = step.get("run", "").replace("\\\n", " ")
        for name, rest in re.findall(r"--package gitops gitops (\S+)([^|\n]*)", text):
            found += 1
            assert name in known, place
            options = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            assert options <= known[name], place
    assert found >= 10


def test_uv_is_one_version():
    setup = re.search(r"UV_VERSION=(\S+)", (ROOT / "src/local/setup.sh").read_text())
    versions = {
        step["with"]["version"] for _, step in steps() if "setup-uv@" in step.get("uses", "")
    }
    assert setup
    assert versions == {setup[1]}


def test_actionlint_finds_nothing():
    """With shellcheck over what is shell in it."""
    done = subprocess.run(
        (programs.actionlint(), "-shellcheck", programs.of_the_environment("shellcheck"), *(FOLDER / name for name in NAMES)),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing():
    done = subprocess.run(
        (programs.of_the_environment("zizmor"), "--persona=pedantic", "--offline", "--no-progress", ".github"),
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing():
    done = subprocess.run(
        (programs.of_the_environment("hadolint"), "src/Dockerfile"),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("environment", "asked"), [("dev", False), ("staging", False), ("prod", True)]
)
def test_prod_asks_its_owners_and_staging_nobody(environment, asked):
    lines = (ROOT / ".github/CODEOWNERS").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    for service in layout.SERVICES:
        path = f"/{layout.release(service, environment)}"
        fits = [rule for rule in rules if rule[0] == "*" or fnmatchcase(path, f"{rule[0]}*")]
        assert bool(fits[-1][1:]) is asked


def test_renovate_leaves_the_pins_alone():
    settings = json.loads((ROOT / "renovate.json").read_text())
    assert "apps/*/envs/*/release/**" in settings["ignorePaths"]
    off = [rule for rule in settings["packageRules"] if rule.get("enabled") is False]
    ours = re.compile(off[0]["matchPackageNames"][0].strip("/"))
    for service in layout.SERVICES:
        assert ours.search(f"docker.io/jojees/{layout.IMAGE_PREFIX}{service}")


def test_the_cluster_of_the_tests_is_the_k3s_of_the_nodes():
    k3d = yaml.safe_load((ROOT / ".github/k3d.yaml").read_text())
    role = (ROOT / "infra/ansible/roles/k3s_binary/defaults/main.yaml").read_text()
    version = yaml.safe_load(role)["k3s_binary_version"]
    assert k3d["image"] == f"docker.io/rancher/k3s:{version.replace('+', '-')}"


def test_images_are_pushed_where_the_cluster_of_the_tests_pulls():
    k3d = yaml.safe_load((ROOT / ".github/k3d.yaml").read_text())["registries"]
    ci = (ROOT / ".github/workflows/ci.yml").read_text()
    made = k3d["create"]
    assert f"E2E_REGISTRY: {made['host']}:{made['hostPort']} " in ci
    first = yaml.safe_load(k3d["config"])["mirrors"]["docker.io"]["endpoint"][0]
    assert first == f"http://{made['name']}:5000"


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
def test_renovate_finds_what_has_no_manager_of_its_own(file, expected):
    """Its regular expressions, on the files that they are for."""
    found = set()
    for manager in json.loads((ROOT / "renovate.json").read_text())["customManagers"]:
        if not any(re.search(one.strip("/"), file) for one in manager["managerFilePatterns"]):
            continue
        for pattern in manager["matchStrings"]:
            for match in re.finditer(pattern.replace("(?<", "(?P<"), (ROOT / file).read_text()):
                assert match["currentValue"]
                found.add(match.groupdict().get("depName") or manager["depNameTemplate"])
    assert found == expected

"""Which images are rebuilt and which checks run for a change."""

import subprocess
import tomllib

import pytest
from click.testing import CliRunner

from gitops import bump, changes, layout
from gitops.cli import main
from gitops.layout import SERVICES

from .forge import BOT, ROOT, Clone, Forge, release


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["src/notification-service/notification_service/main.py"], ("notification-service",)),
        (["src/notification-service/pyproject.toml"], ("notification-service",)),
        # rules, migrations and templates are part of the image
        (["src/audit-log-analysis/audit_analysis/rules/auditflow/a.yml"], ("audit-log-analysis",)),
        (["src/event-audit-dashboard/event_audit_dashboard/static/a.css", "src/audit-event-generator/x.py"], ("audit-event-generator", "event-audit-dashboard")),
        (["src/auditflow/auditflow/contract/event.py"], SERVICES),
        (["src/provisioning/provisioning/accounts.py"], ("notification-service",)),
        (["uv.lock"], SERVICES),
        (["pyproject.toml"], SERVICES),
        ([".dockerignore"], SERVICES),
        (["src/Dockerfile"], SERVICES),
        (["src/rootfs.sh"], SERVICES),
        (["src/npm_build_hook.py"], SERVICES),
        # not part of an image
        (["src/notification-service/tests/test_api.py"], ()),
        (["src/notification-service/README.md"], ()),
        (["src/auditflow/tests/test_event.py", "src/auditflow/README.md"], ()),
        (["src/tests/test_analyst.py", "src/local/auditflow_local/cli.py", "src/gitops/gitops/bump.py"], ()),
        (["README.md", "docs/delivery.md", "Makefile", ".github/workflows/ci.yml"], ()),
        (["apps/notification-service/envs/dev/release/kustomization.yaml"], ()),
        # a folder whose name only starts with the name of a service
        (["src/notification-service-next/main.py"], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_images_to_rebuild(paths, expected):
    assert changes.services(paths) == expected


def test_shared_files_are_the_files_that_the_dockerfile_copies():
    """A COPY that is missing in ``changes.SHARED`` would never start a build."""
    copied = {
        word
        for line in (ROOT / "src/Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    known = {"src", "pyproject.toml", "uv.lock", "src/rootfs.sh", "docs/runbooks/rules"}
    assert copied - known <= {f"{member}/pyproject.toml" for member in workspace_members()}


def workspace_members() -> list[str]:
    """Return the folders of the uv workspace: ``src/auditflow``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["tool"]["uv"]["workspace"]["members"]


def test_tests_are_not_part_of_an_image():
    assert {"src/tests", "src/*/tests"} <= set((ROOT / ".dockerignore").read_text().split())


@pytest.mark.parametrize(
    ("path", "suites", "images", "manifests", "cluster", "infra"),
    [
        ("src/notification-service/tests/test_api.py", ("notification-service", "tests"), False, False, False, False),
        ("src/auditflow/auditflow/contract/event.py", ("auditflow", "provisioning", *SERVICES, "local", "tests"), True, False, False, False),
        ("uv.lock", layout.SUITES, True, False, False, False),
        ("src/gitops/gitops/bump.py", ("gitops",), False, True, False, False),
        (".github/workflows/ci.yml", ("gitops",), False, False, False, False),
        ("apps/redis/base/service.yaml", ("gitops", "tests"), False, True, True, False),
        ("src/lab/lab/kube.py", ("tests",), False, False, True, False),
        ("src/tests/images/engine.py", ("tests",), True, False, False, False),
        ("docs/architecture.md", ("tests",), False, False, False, False),
        ("infra/ansible/roles/base/tasks/main.yaml", ("tests",), False, False, False, True),
        ("LICENSE", (), False, False, False, False),
    ],
)  # fmt: skip
def test_checks_to_run(path, suites, images, manifests, cluster, infra):
    assert changes.touched([path]) == changes.Touched(suites, images, manifests, cluster, infra)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("clusters/operators/dex.yaml", True),
        ("monitoring/values/prometheus-stack.yaml", True),
        ("src/gitops/gitops/cli/charts.py", True),
        ("apps/data/redis/base/service.yaml", False),
    ],
)
def test_charts_are_rendered_if_a_version_or_a_value_can_change(path, expected):
    assert changes.touched([path]).charts is expected


def test_suites_are_the_folders_with_tests():
    folders = {file.parent.name for file in (ROOT / "src").glob("*/tests")} | {"tests"}
    assert folders == set(layout.SUITES)


def run(clone: Clone, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["-C", str(clone.directory), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_base_compares_only_the_changes_of_the_branch(ada: Clone, forge: Forge):
    # given a branch and a newer commit on main
    base = ada.head
    other = forge.clone()
    other.commit({"src/notification-service/main.py": "print('two')\n"})
    other.push()
    ada.commit({"src/audit-log-analysis/main.py": "print('two')\n"})
    subprocess.run(("git", "-C", ada.directory, "fetch", "-q"), check=True)

    # then only the branch's change counts
    assert base != other.head
    assert run(ada, "changed", "--base", "origin/main", "--json") == '["audit-log-analysis"]\n'
    assert run(ada, "touched", "--base", "origin/main") == (
        f'suites=["audit-log-analysis", "tests"]\nimages=true\nmanifests=false\ncluster=false\ninfra=false\ncharts=false\nbase={base}\n'
    )


def test_failed_build_is_repeated(ada: Clone, bot: Clone):
    # given that all services except one are released
    first = ada.head
    failed = "audit-log-analysis"
    built = [release(service, first) for service in SERVICES if service != failed]
    bump.bump(bot.repository, built, environment="dev", branch="main", identity=BOT)
    ada.pull()

    # when another service changes
    ada.commit({"src/notification-service/main.py": "print('two')\n"})

    # then both are built
    assert run(ada, "changed", "--since", "dev") == f"{failed}\nnotification-service\n"


def test_service_with_an_unknown_commit_is_rebuilt(ada: Clone, bot: Clone, forge: Forge):
    bump.bump(
        bot.repository, [release(service, ada.head) for service in SERVICES],
        environment="dev", branch="main", identity=BOT,
    )  # fmt: skip
    ada.pull()
    path = layout.release("notification-service", "dev")
    unknown_commit = "ab" * 20
    tag = forge.pin("notification-service", "dev").tag
    ada.commit({path: (ada.directory / path).read_text().replace(tag, unknown_commit)})
    assert run(ada, "changed", "--since", "dev") == "notification-service\n"


def test_base_or_since_is_required(ada: Clone):
    done = CliRunner().invoke(main, ["-C", str(ada.directory), "changed"])
    assert done.exit_code == 2
    assert "give one of --base and --since" in done.output

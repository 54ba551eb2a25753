"""What a change means: which images, which checks."""

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
        # rules, migrations and templates are in the image as much as code is
        (["src/audit-log-analysis/audit_analysis/rules/auditflow/a.yml"], ("audit-log-analysis",)),
        (["src/event-audit-dashboard/event_audit_dashboard/static/a.css", "src/audit-event-generator/x.py"], ("audit-event-generator", "event-audit-dashboard")),
        (["src/auditflow/auditflow/contract/event.py"], SERVICES),
        (["src/provisioning/provisioning/accounts.py"], ("notification-service",)),
        (["uv.lock"], SERVICES),
        (["pyproject.toml"], SERVICES),
        ([".dockerignore"], SERVICES),
        (["src/Dockerfile"], SERVICES),
        (["src/rootfs.sh"], SERVICES),
        # in no image
        (["src/notification-service/tests/test_api.py"], ()),
        (["src/notification-service/README.md"], ()),
        (["src/auditflow/tests/test_event.py", "src/auditflow/README.md"], ()),
        (["src/tests/test_analyst.py", "src/local/auditflow_local/cli.py", "src/gitops/gitops/bump.py"], ()),
        (["README.md", "docs/delivery.md", "Makefile", ".github/workflows/ci.yml"], ()),
        (["apps/notification-service/envs/dev/release/kustomization.yaml"], ()),
        # a folder that only begins like a service
        (["src/notification-service-next/main.py"], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_which_images_a_change_means(paths, expected):
    assert changes.services(paths) == expected


def test_what_is_shared_is_what_the_dockerfile_copies():
    """Every file that the Dockerfile copies is known here, so that its change builds images."""
    copied = {
        word
        for line in (ROOT / "src/Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    known = {"src", "pyproject.toml", "uv.lock", "src/rootfs.sh"}
    assert copied - known <= {f"{member}/pyproject.toml" for member in workspace_members()}


def workspace_members() -> list[str]:
    """Return the folders of the uv workspace: ``src/auditflow``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["tool"]["uv"]["workspace"]["members"]


def test_tests_are_in_no_image():
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
def test_which_checks_a_change_means(path, suites, images, manifests, cluster, infra):
    assert changes.touched([path]) == changes.Touched(suites, images, manifests, cluster, infra)


def test_suites_are_the_folders_that_have_tests():
    folders = {file.parent.name for file in (ROOT / "src").glob("*/tests")} | {"tests"}
    assert folders == set(layout.SUITES)


def run(clone: Clone, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["-C", str(clone.directory), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_since_a_revision_counts_only_what_the_branch_did(ada: Clone, forge: Forge):
    # given a branch, and main that went on without it
    base = ada.head
    other = forge.clone()
    other.commit({"src/notification-service/main.py": "print('two')\n"})
    other.push()
    ada.commit({"src/audit-log-analysis/main.py": "print('two')\n"})
    subprocess.run(("git", "-C", ada.directory, "fetch", "-q"), check=True)

    # then only the branch's own change counts
    assert base != other.head
    assert run(ada, "changed", "--base", "origin/main", "--json") == '["audit-log-analysis"]\n'
    assert run(ada, "touched", "--base", "origin/main") == (
        f'suites=["audit-log-analysis", "tests"]\nimages=true\nmanifests=false\ncluster=false\ninfra=false\nbase={base}\n'
    )


def test_a_build_that_failed_comes_again(ada: Clone, bot: Clone):
    # given that all is released, but for one whose build failed
    first = ada.head
    failed = "audit-log-analysis"
    built = [release(service, first) for service in SERVICES if service != failed]
    bump.bump(bot.repository, built, environment="dev", branch="main", identity=BOT)
    ada.pull()

    # when somebody changes another
    ada.commit({"src/notification-service/main.py": "print('two')\n"})

    # then both are to be built
    assert run(ada, "changed", "--since", "dev") == f"{failed}\nnotification-service\n"


def test_a_pin_of_a_history_that_is_gone_is_built_again(ada: Clone, bot: Clone, forge: Forge):
    bump.bump(
        bot.repository, [release(service, ada.head) for service in SERVICES],
        environment="dev", branch="main", identity=BOT,
    )  # fmt: skip
    ada.pull()
    path = layout.release("notification-service", "dev")
    gone = "ab" * 20
    tag = forge.pin("notification-service", "dev").tag
    ada.commit({path: (ada.directory / path).read_text().replace(tag, gone)})
    assert run(ada, "changed", "--since", "dev") == "notification-service\n"


def test_one_of_base_and_since(ada: Clone):
    done = CliRunner().invoke(main, ["-C", str(ada.directory), "changed"])
    assert done.exit_code == 2
    assert "give one of --base and --since" in done.output

"""The exporter of DORA metrics and drift, with the files that its container with git writes."""

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditflow_local.polling import eventually
from gitops import exporter, history_files
from gitops.cli.dora import deployments
from gitops.errors import GitOpsError
from gitops.exporter import Settings

from .forge import ROOT, Clone, Forge
from .test_promotion import NOTIFICATION, deploy, run

SCRIPT = ROOT / "apps/platform/delivery-metrics/history.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "history"
    found.mkdir()
    return found


def write_history(forge: Forge, folder: Path) -> None:
    """Run the script of the pod until it has written the files."""
    environment = {
        **os.environ,
        "HISTORY_FOLDER": str(folder),
        "REPOSITORY": f"file://{forge.directory}",
        "BRANCH": "main",
        "ENVIRONMENT": "prod",
    }
    script = subprocess.Popen(("sh", str(SCRIPT)), env=environment, start_new_session=True)
    try:
        eventually(
            lambda: script.poll() is not None or (folder / "pins").exists(), what="the files"
        )
        assert (folder / "pins").exists(), "the script ended"
    finally:
        os.killpg(script.pid, signal.SIGTERM)
        script.wait()


def settings(folder: Path) -> Settings:
    return Settings("", "argocd", "prod", folder, 0)


def applications(forge: Forge, *revisions: str, health: str = "Healthy") -> dict[str, Any]:
    history = [
        {"id": number, "revision": revision, "deployedAt": "2026-01-01T00:00:00Z"}
        for number, revision in enumerate(revisions or (forge.head(),))
    ]
    return {
        "items": [
            {
                "metadata": {"name": f"prod-{NOTIFICATION}"},
                "spec": {"project": "auditflow-prod"},
                "status": {"history": history, "health": {"status": health}},
            }
        ]
    }


def samples(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_files_have_the_same_deployments_as_the_repository(
    ada: Clone, bot: Clone, forge: Forge, folder: Path
):
    # Given deployments, a commit without a deployment, a deployment of dev, and a rollback
    deploy(forge, NOTIFICATION, number=1, environment="prod")
    deploy(forge, NOTIFICATION, number=2, environment="prod")
    deploy(forge, NOTIFICATION, number=3, environment="dev")
    ada.pull()
    ada.commit({"docs/a.md": "not a deployment"})
    ada.push()
    run(bot, "rollback", "prod")
    ada.merge("rollback/prod")

    # When git writes the files
    write_history(forge, folder)
    commits = history_files.commits((folder / "commits").read_text())
    found = history_files.deployments((folder / "pins").read_text(), commits, "prod")

    # Then they state what `gitops dora` reads from the repository
    assert found == deployments(forge.clone().repository, forge.head(), "prod")
    assert len(found) == 3

    # And the order of the commits of the main branch
    contains = history_files.contains(commits)
    assert contains(found[0].commit, found[1].commit)
    assert contains(found[0].commit, found[0].commit)
    assert not contains(found[1].commit, found[0].commit)
    assert not contains("unknown", found[0].commit)


def test_metrics_count_deployments_that_are_healthy(forge: Forge, folder: Path):
    deploy(forge, NOTIFICATION, number=1, environment="prod")
    first = forge.head()
    deploy(forge, NOTIFICATION, number=2, environment="prod")
    write_history(forge, folder)

    def measured(health: str) -> dict[str, float]:
        found = applications(forge, first, forge.head(), health=health)
        return samples(exporter.render(settings(folder), found, time.time()))

    assert measured("Healthy")["auditflow_dora_deployments"] == 2
    assert measured("Degraded")["auditflow_dora_deployments"] == 1
    assert measured("Healthy")["auditflow_drift_resources"] == 0


def test_history_that_does_not_exist_yet_is_an_error(folder: Path):
    with pytest.raises(GitOpsError, match="the history is not available"):
        exporter.render(settings(folder), {"items": []}, 0.0)


def test_invalid_list_of_commits_is_an_error():
    with pytest.raises(GitOpsError, match="invalid line"):
        history_files.commits("abc soon")


@contextmanager
def serving(collected: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Serve the first text of the list, or an error if it is empty."""
    log: list[str] = []

    def collect() -> str:
        if not collected:
            raise GitOpsError("the history is not available")
        return collected[0]

    http = exporter.server(("127.0.0.1", 0), collect, log=log.append)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", log
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_server_answers_with_the_metrics_or_an_error():
    collected = ["a 1\n"]
    with serving(collected) as (url, log):
        assert get(f"{url}/metrics") == (200, "a 1\n")
        assert get(f"{url}/healthz")[0] == 200
        assert get(f"{url}/other")[0] == 404
        collected.clear()
        # no detail reaches a client
        assert get(f"{url}/metrics") == (503, "see the log\n")
        assert get(f"{url}/healthz")[0] == 200
    assert log == ["the history is not available"]


def test_settings_name_the_missing_variable():
    with pytest.raises(GitOpsError, match="KUBERNETES_SERVICE_HOST"):
        Settings.read({})


def test_programs_of_the_pods_import_only_the_standard_library(tmp_path: Path):
    """The ConfigMaps must contain each module that the programs import."""
    text = (ROOT / "src/gitops/kustomization.yaml").read_text("utf-8")
    for program in text.split("- name: ")[1:]:
        folder = tmp_path / program.split("\n", 1)[0] / "gitops"
        folder.mkdir(parents=True)
        names = [line.strip("- ") for line in program.splitlines() if line.startswith("  - ")]
        for name in names:
            (folder / Path(name).name).write_text((ROOT / "src/gitops" / name).read_text("utf-8"))
        module = "exporter" if "gitops/exporter.py" in names else "promoter"
        done = subprocess.run(
            ("python3", "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(folder.parent)!r});"
             f" import gitops.{module}"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

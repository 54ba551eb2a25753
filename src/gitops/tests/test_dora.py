"""The four DORA metrics."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from gitops import dora
from gitops.cli import main
from gitops.cli.dora import _months, deployments
from gitops.dora import Deployment, Metrics, PinChange, Service, Sync

from .forge import Clone, Forge
from .test_promotion import NOTIFICATION, deploy, run

HOUR = 3600.0


def deployed(at: float, digest: str, written_at: float | None = None) -> Deployment:
    return Deployment(at * HOUR, (PinChange("a", digest, written_at and written_at * HOUR),))


def test_four_metrics():
    history = [
        deployed(10, "first", 8),  # before the period
        deployed(100, "second", 96),
        deployed(130, "third", 124),
        deployed(131.5, "second"),  # the rollback of the third
        deployed(300, "fourth", 200),  # after the period
    ]
    assert dora.measure(history, start=50 * HOUR, end=200 * HOUR) == Metrics(
        deployments=2, lead_time_hours=5.0, failure_ratio=0.5, restore_hours=1.5, rollbacks=1
    )


def test_nothing_to_measure():
    assert dora.measure([], start=0, end=1) == Metrics(0, None, None, None, 0)
    assert "| 2026-11 | 0 | - | - | - |" in dora.report(
        "prod", [("2026-11", dora.measure([], start=0, end=1))]
    )


@pytest.mark.parametrize("month", [1, 2, 12])
def test_months_are_contiguous(month: int):
    found = _months(datetime(2026, month, 15, 3, tzinfo=UTC), 14)
    assert len(found) == 14
    assert found[-1][0] == datetime(2026, month, 1, tzinfo=UTC)
    assert all(first[1] == second[0] for first, second in itertools.pairwise(found))


def test_deployments_are_read_from_git(ada: Clone, bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, number=1, environment="prod")
    deploy(forge, NOTIFICATION, number=2, environment="prod")
    ada.pull()
    ada.commit({"docs/a.md": "not a deployment"})
    ada.push()
    run(bot, "rollback", "prod")
    ada.merge("rollback/prod")

    history = deployments(forge.clone().repository, forge.head(), "prod")
    assert [item.changes[0].digest[-1] for item in history] == ["1", "2", "1"]
    assert all(item.changes[0].written_at for item in history)
    metrics = dora.measure(history, start=0, end=float("inf"))
    assert (metrics.deployments, metrics.rollbacks, metrics.failure_ratio) == (2, 1, 0.5)


def service(*syncs: tuple[str, float], complete: bool = True, healthy: bool = True) -> Service:
    return Service(tuple(Sync(revision, at) for revision, at in syncs), complete, healthy)


@pytest.mark.parametrize(
    ("services", "times"),
    [
        # each deployment counts when its first sync is complete
        ({"a": service(("1", 15), ("2", 25))}, [15, 25]),
        # a sync also deploys the commits before it
        ({"a": service(("2", 25))}, [25, 25]),
        # the history does not reach the first deployment, so its commit's time is kept
        ({"a": service(("1", 15), ("2", 25), complete=False)}, [10, 25]),
        # the second deployment is not synced yet
        ({"a": service(("1", 15))}, [15]),
        # the second deployment is not Healthy, and the first one was replaced
        ({"a": service(("1", 15), ("2", 25), healthy=False)}, [15]),
        # a later sync is not Healthy: the second deployment was completed before
        ({"a": service(("1", 15), ("2", 25), ("2", 35), healthy=False)}, [15, 25]),
        ({"a": service(("unknown", 15))}, []),
        ({}, []),
    ],
)
def test_deployment_counts_when_argo_cd_completed_it_and_it_is_healthy(
    services: dict[str, Service], times: list[float]
):
    history = [
        Deployment(10, (PinChange("a", "first", None),), "1"),
        Deployment(20, (PinChange("a", "second", None),), "2"),
    ]

    def contains(older: str, newer: str) -> bool:
        return newer.isdigit() and int(older) <= int(newer)

    assert [item.at for item in dora.completed(history, services, contains)] == times


def test_deployment_of_two_services_counts_when_both_run():
    history = [Deployment(10, (PinChange("a", "x", None), PinChange("b", "x", None)), "1")]
    both = {"a": service(("1", 15)), "b": service(("1", 40))}
    assert [item.at for item in dora.completed(history, both, lambda *_: True)] == [40]
    only_a = {"a": service(("1", 15)), "b": service()}
    assert dora.completed(history, only_a, lambda *_: True) == ()


def test_metrics_of_30_days(bot: Clone, forge: Forge, tmp_path: Path):
    deploy(forge, NOTIFICATION, number=1, environment="prod")
    first = forge.head()
    deploy(forge, NOTIFICATION, number=2, environment="prod")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def measured(health: str) -> dict[str, float]:
        history = [
            {"id": number, "revision": revision, "deployedAt": now}
            for number, revision in enumerate((first, forge.head()))
        ]
        item = {
            "metadata": {"name": f"prod-{NOTIFICATION}"},
            "spec": {"project": "auditflow-prod"},
            "status": {"history": history, "health": {"status": health}},
        }
        file = tmp_path / "applications.json"
        file.write_text(json.dumps({"items": [item]}))
        arguments = ["-C", str(bot.directory), "dora", "--env", "prod", "--metrics"]
        result = CliRunner().invoke(main, [*arguments, "--applications", str(file)])
        assert result.exit_code == 0, result.output
        families = text_string_to_metric_families(result.output)
        return {sample.name: sample.value for family in families for sample in family.samples}

    assert measured("Healthy")["auditflow_dora_deployments"] == 2
    assert measured("Progressing")["auditflow_dora_deployments"] == 1
    assert measured("Healthy")["auditflow_dora_rollbacks"] == 0


def test_history_without_valid_times_is_refused(bot: Clone, forge: Forge, tmp_path: Path):
    deploy(forge, NOTIFICATION, environment="prod")
    item = {
        "metadata": {"name": f"prod-{NOTIFICATION}"},
        "spec": {"project": "auditflow-prod"},
        "status": {"history": [{"revision": "a", "deployedAt": "yesterday"}]},
    }
    file = tmp_path / "applications.json"
    file.write_text(json.dumps({"items": [item]}))
    arguments = ["-C", str(bot.directory), "dora", "--env", "prod", "--applications", str(file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert f"the history of Application prod-{NOTIFICATION} is not valid" in result.output


def test_command_prints_a_table(bot: Clone, forge: Forge):
    deploy(forge, NOTIFICATION, environment="prod")
    arguments = ["-C", str(bot.directory), "dora", "--env", "prod", "--months", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "# Delivery of prod"
    assert lines[-1].startswith(f"| {datetime.now(UTC):%Y-%m} | 1 | 0.0 h | 0 (0%) | - |")

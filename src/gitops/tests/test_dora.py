"""The four DORA metrics."""

import itertools
from datetime import UTC, datetime

import pytest

from gitops import dora
from gitops.cli.dora import _months, deployments
from gitops.dora import Deployment, Metrics, PinChange

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


def test_command_prints_a_table(bot: Clone, forge: Forge):
    from click.testing import CliRunner

    from gitops.cli import main

    deploy(forge, NOTIFICATION, environment="prod")
    arguments = ["-C", str(bot.directory), "dora", "--env", "prod", "--months", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "# Delivery of prod"
    assert lines[-1].startswith(f"| {datetime.now(UTC):%Y-%m} | 1 | 0.0 h | 0 (0%) | - |")

"""The times of periodic work."""

from notification_service.maintenance import Maintenance, Task


def test_a_task_runs_less_often_while_many_findings_are_stored() -> None:
    # Given two tasks without a time between two runs, of which one waits while findings are stored
    runs: list[str] = []
    busy = [True]
    maintenance = Maintenance(
        [
            Task("waits", 0.0, lambda: runs.append("waits"), busy_seconds=600.0),
            Task("always", 0.0, lambda: runs.append("always")),
        ],
        is_busy=lambda: busy[0],
    )
    # When many findings are stored, then it runs once
    maintenance.run_once()
    maintenance.run_once()
    assert runs == ["waits", "always", "always"]
    # and again after that
    busy[0] = False
    maintenance.run_once()
    assert runs[3:] == ["waits", "always"]


def test_a_task_with_further_work_runs_again_also_while_many_findings_are_stored() -> None:
    remaining = [True, True, False]
    maintenance = Maintenance(
        [Task("task", 600.0, lambda: remaining.pop(0), busy_seconds=600.0)], is_busy=lambda: True
    )
    for _ in range(5):
        maintenance.run_once()
    assert remaining == []

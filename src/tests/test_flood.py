"""A flood of failed logins with distinct names does not hide a burst, and memory stays bounded."""

from pathlib import Path
from typing import Any

from .bench import flood


def test_a_burst_is_found_during_a_flood(make_redis: Any, tmp_path: Path) -> None:
    # Given a limit of 10,000 windows for each rule, when 60,000 users fail to log in
    server = make_redis(tmp_path)
    result = flood.run(60_000, server, windows_per_rule=10_000)
    # then windows are evicted, and the burst of one user is found
    assert result.evicted > 100_000
    (burst,) = (found for found in result.findings if found.rule.title == "Burst of failed logins")
    assert burst.count == 6
    # and the finding states that events may be missing
    assert burst.approximate
    assert result.peak_memory < 40 * 2**20


def test_a_small_flood_is_exact(make_redis: Any, tmp_path: Path) -> None:
    result = flood.run(6_000, make_redis(tmp_path))
    (burst,) = (found for found in result.findings if found.rule.title == "Burst of failed logins")
    assert (result.evicted, burst.count, burst.approximate) == (0, 6, False)

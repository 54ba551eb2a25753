"""Which rules apply to an event, what a staged rule does, and what a correlation of correlations
covers, from bytes to findings."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from auditflow.contract.finding import Finding
from auditflow.errors import PublishError

from .pipeline_bench import NOW, Bench, failed_login


def rule_id(number: int) -> str:
    return f"70000000-0000-4000-8000-{number:012}"


def bench_of(folder: Path, rules: str) -> Bench:
    (folder / "rules.yml").write_text(rules, "utf-8")
    return Bench(rules=folder)


def send(bench: Bench, *events: dict[str, Any]) -> None:
    assert bench.send(*map(msgspec.json.encode, events)) == []


def titles(bench: Bench) -> list[str]:
    return sorted(found.rule.title for found in bench.findings)


def matches(bench: Bench, title: str) -> float:
    name = "auditflow_analysis_rule_matches_total"
    return bench.registry.get_sample_value(name, {"rule": title}) or 0.0


def about_alice(title: str, number: int, source: str, more: str = "") -> str:
    return f"""
title: {title}
name: rule_{number}
id: {rule_id(number)}
logsource: {source}
detection: {{s: {{user_id: alice}}, condition: s}}
level: low
{more}
"""


SOURCES = {
    "any category": "{product: auditflow}",
    "authentication": "{product: auditflow, category: authentication}",
    "file_event": "{product: auditflow, category: file_event}",
    "linux": "{product: linux}",
    "linux process": "{product: linux, category: process_creation}",
    "any process": "{category: process_creation}",
    "auditd": "{product: linux, service: auditd}",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event_type": "user_login"}, {"any category", "authentication"}),
        ({"event_type": "file_modified"}, {"any category", "file_event"}),
        ({"event_type": "sudo_command"}, {"any category", "any process"}),
        ({"event_type": "without a category"}, {"any category"}),
        ({"logsource": {"product": "linux"}}, {"linux"}),
        ({"logsource": {"product": "linux", "category": "process_creation"}},
         {"linux", "linux process", "any process"}),
        ({"logsource": {"product": "linux", "service": "auditd"}}, {"linux", "auditd"}),
        ({"logsource": {"product": "linux", "service": "sshd", "category": "file_event"}}, {"linux"}),
        ({"logsource": {"product": "windows", "category": "process_creation"}}, {"any process"}),
        # a category that the source names itself does not replace that of an own event
        ({"event_type": "user_login", "logsource": {"product": "auditflow", "category": "file_event"}},
         {"any category", "authentication"}),
    ],
)  # fmt: skip
def test_a_rule_applies_to_events_of_its_log_source(
    tmp_path: Path, changes: dict[str, Any], expected: set[str]
) -> None:
    rules = [
        about_alice(title, number, source) for number, (title, source) in enumerate(SOURCES.items())
    ]
    bench = bench_of(tmp_path, "---".join(rules))
    send(bench, failed_login(1, **changes))
    assert set(titles(bench)) == expected


STAGED = "status: experimental"
BURST = f"""
title: Burst
name: burst
id: {rule_id(8)}
correlation:
  type: event_count
  rules: [rule_1]
  group-by: [user_id, server_hostname]
  timespan: 1m
  condition: {{gte: 3}}
level: high
%s
---
title: Hosts
id: {rule_id(9)}
correlation:
  type: value_count
  rules: [burst]
  group-by: [user_id]
  timespan: 10m
  generate: %s
  condition: {{gte: 2, field: server_hostname}}
level: high
%s
"""
LOGINS = about_alice("Login", 1, SOURCES["authentication"])


def test_a_staged_rule_counts_its_matches_and_makes_no_finding(tmp_path: Path) -> None:
    rules = [
        about_alice("Staged", 1, SOURCES["any category"], STAGED),
        about_alice("Stable", 2, SOURCES["any category"]),
    ]
    bench = bench_of(tmp_path, "---".join(rules))
    send(bench, failed_login(1), failed_login(2), failed_login(3, user_id="bob"))
    assert titles(bench) == ["Stable", "Stable"]
    assert (matches(bench, "Staged"), matches(bench, "Stable")) == (2, 2)


def bursts(*hosts: str, seconds: float = 0) -> list[dict[str, Any]]:
    """A burst of three failed logins in three seconds on each host, 100 s after each other."""
    return [
        failed_login(
            0,
            event_id=f"{host}{number}",
            server_hostname=host,
            seconds=seconds - 300 + 100 * position + number,
        )
        for position, host in enumerate(hosts)
        for number in range(3)
    ]


@pytest.mark.parametrize(
    ("burst", "hosts", "expected"),
    [
        ("", "", ["Burst", "Burst", "Hosts"]),
        (STAGED, "", ["Hosts"]),
        ("", STAGED, ["Burst", "Burst"]),
        (STAGED, STAGED, []),
    ],
)
def test_a_staged_correlation_still_feeds_others(
    tmp_path: Path, burst: str, hosts: str, expected: list[str]
) -> None:
    bench = bench_of(tmp_path, f"{LOGINS}---{BURST % (burst, 'true', hosts)}")
    send(bench, *bursts("a", "b"))
    assert titles(bench) == expected


def outer(bench: Bench) -> list[Finding]:
    found = [found for found in bench.findings if found.rule.title == "Hosts"]
    return sorted(found, key=lambda finding: finding.first_seen)


def test_a_correlation_of_correlations_covers_the_events_that_completed_the_inner_ones(
    tmp_path: Path,
) -> None:
    # given two bursts on two hosts
    bench = bench_of(tmp_path, f"{LOGINS}---{BURST % ('', 'false', '')}")
    send(bench, *bursts("a", "b"))
    # then the finding covers the time from the completion of the first to that of the second
    (found,) = outer(bench)
    assert (found.first_seen, found.last_seen) == (
        NOW - dt.timedelta(seconds=298),
        NOW - dt.timedelta(seconds=198),
    )
    assert [ref.event_id for ref in found.evidence.events] == ["a2", "b2"]
    assert (found.count, found.entity) == (2, {"user_id": "alice"})
    # and a later burst on a third host belongs to the same finding
    send(bench, *bursts("c", seconds=150))
    (found,) = outer(bench)
    assert found.last_seen == NOW - dt.timedelta(seconds=148)
    assert [ref.event_id for ref in found.evidence.events] == ["a2", "b2", "c2"]


@pytest.mark.parametrize("when", ["it is sent", "it is waited for"])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_backlog_of_a_cascade_survives_a_crash(tmp_path: Path, failing: int, when: str) -> None:
    # given a batch with attacks of one user, two hours apart, each on hosts of its own
    bench = bench_of(tmp_path, f"{LOGINS}---{BURST % ('', 'false', '')}")
    events = [
        event
        for number, hosts in enumerate(("ab", "cd", "ef"))
        for event in bursts(*hosts, seconds=7200 * number - 14_400)
    ]
    # when the worker fails before one of the findings is stored, and the batch comes again
    bench.fails = (failing, when)
    with pytest.raises(PublishError):
        send(bench, *events)
    send(bench, *events)
    # then each attack is found completely
    assert [[ref.event_id for ref in found.evidence.events] for found in outer(bench)] == [
        ["a2", "b2"],
        ["c2", "d2"],
        ["e2", "f2"],
    ]

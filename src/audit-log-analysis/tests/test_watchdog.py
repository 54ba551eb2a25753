"""A rule that costs too much is noticed, named, and switched off where that is wanted."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from audit_analysis.service.watchdog import MAX_NAMED, Watchdog
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

#: A rule of many wildcards, a rule that costs nothing, and a correlation of each.
RULES = """
title: Long list
name: long
id: 40000000-0000-4000-8000-000000000001
logsource: {product: auditflow, category: file_event}
detection:
  s: {resource: [%s]}
  condition: s
---
title: Short
name: short
id: 40000000-0000-4000-8000-000000000002
logsource: {product: auditflow, category: file_event}
detection: {s: {resource|contains: z}, condition: s}
---
title: Many
id: 40000000-0000-4000-8000-000000000003
correlation:
  {type: event_count, rules: [long], group-by: [user_id], timespan: 1m, generate: true, condition: {gte: 2}}
""" % ", ".join(f"'*x?{number}-*y'" for number in range(150))  # noqa: UP031
LONG, SHORT, MANY = (f"40000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


def files(folder: Path) -> Path:
    (folder / "rules.yml").write_text(RULES)
    return folder


def fires(rules: RuleSet, number: int) -> list[str]:
    document: dict[str, Any] = {
        "event_id": f"e{number}",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "file_modified",
        "user_id": "alice",
        "resource": f"x_149-{'w' * 20000}{number}zy",
    }
    return [
        match.rule.ref.title
        for match in rules.match(View(event.decode(msgspec.json.encode(document))))
    ]


def cost(rules: RuleSet) -> float:
    """The minimum time in which this machine evaluates the long list for such an event (seconds)."""
    times = []
    for number in range(3):
        began = time.thread_time()
        fires(rules, 1000 + number)
        times.append(time.thread_time() - began)
    return min(times)


def test_a_slow_rule_is_counted_and_named_and_stays_on(tmp_path: Path) -> None:
    plain = load([files(tmp_path)], lateness=0)
    # Given a bound that the list is above and nothing else
    registry = CollectorRegistry()
    watchdog = Watchdog(registry, limit=cost(plain) / 20)
    rules = load([tmp_path], lateness=0, watchdog=watchdog)
    # when events come
    seen = [fires(rules, number) for number in range(5)]
    # then the answers are what they were, and the list is named: alone and as part of a correlation
    assert seen == [fires(plain, number) for number in range(5)]
    slow = {slow_rule.rule.title: slow_rule for slow_rule in watchdog.state()}
    assert slow.keys() == {"Long list", "Many"}
    assert not any(slow_rule.off for slow_rule in slow.values())
    assert slow["Long list"].worst_ms > watchdog.limit * 1000
    name = "auditflow_analysis_slow_rules_total"
    assert registry.get_sample_value(name, {"rule": "Long list"}) == slow["Long list"].times > 0
    assert registry.get_sample_value(name, {"rule": "Short"}) is None


def test_a_rule_that_is_slow_too_often_is_off_until_it_changes(tmp_path: Path) -> None:
    plain = load([files(tmp_path)], lateness=0)
    registry = CollectorRegistry()
    watchdog = Watchdog(registry, limit=cost(plain) / 20, strikes=2)
    rules = load([tmp_path], lateness=0, watchdog=watchdog)
    assert "Long list" in fires(rules, 1)
    for number in range(2, 5):
        fires(rules, number)
    assert fires(rules, 5) == ["Short"]
    assert {slow_rule.rule.title for slow_rule in watchdog.state() if slow_rule.off} == {
        "Long list",
        "Many",
    }
    assert registry.get_sample_value("auditflow_analysis_rules_switched_off") == 2
    # Loaded again it is still off, and changed it is on
    assert fires(load([tmp_path], lateness=0, watchdog=watchdog), 6) == ["Short"]
    (tmp_path / "rules.yml").write_text(RULES.replace("x?1-*", "x?01-*"))
    assert "Long list" in fires(load([tmp_path], lateness=0, watchdog=watchdog), 7)


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ([], ["Long list", "Many", "Short"]),
        ([SHORT], ["Long list", "Many"]),
        ([MANY], ["Long list", "Short"]),
        ([LONG], ["Short"]),  # and the correlation that rests on it
    ],
)
def test_rules_are_switched_off_by_hand(tmp_path: Path, off: list[str], left: list[str]) -> None:
    rules = load([files(tmp_path)], lateness=0, off=off)
    assert sorted(rule.ref.title for rule in rules.rules) == left
    assert sorted(fires(rules, 1)) == left


def test_the_names_of_slow_rules_are_bounded(tmp_path: Path) -> None:
    (rule,) = load([files(tmp_path)], lateness=0, off=[LONG]).rules
    registry = CollectorRegistry()
    watchdog = Watchdog(registry, limit=0.001)
    for number in range(MAX_NAMED + 5):
        ref = msgspec.structs.replace(rule.ref, id=str(number), title=f"Rule {number}")
        watchdog.report_slow(msgspec.structs.replace(rule, ref=ref), 1.0)
    assert len(watchdog.state()) == MAX_NAMED
    name = "auditflow_analysis_slow_rules_total"
    assert registry.get_sample_value(name, {"rule": "others"}) == 5

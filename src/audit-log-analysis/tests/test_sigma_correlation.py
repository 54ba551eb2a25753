"""Sigma's correlations, from rule to finding: who is counted together, and what is counted."""

from pathlib import Path

import pytest

from audit_analysis.ruletools.ruletest import RuleTest, collect
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet

RULES = """
title: Login
name: login
id: 10000000-0000-4000-8000-000000000001
logsource: {product: auditflow, category: authentication}
detection: {s: {event_type: user_login, action_result: FAILURE}, condition: s}
---
title: Sudo
name: sudo
id: 10000000-0000-4000-8000-000000000002
logsource: {product: auditflow, category: process_creation}
detection: {s: {event_type: sudo_command}, condition: s}
---
title: Spray
id: 10000000-0000-4000-8000-000000000003
correlation:
  type: value_count
  rules: [login]
  group-by: [client_ip]
  timespan: 5m
  condition: {gte: 3, field: user_id}
---
title: Both
id: 10000000-0000-4000-8000-000000000004
correlation:
  type: temporal
  rules: [login, sudo]
  group-by: [user_id]
  timespan: 1m
---
title: One after the other
id: 10000000-0000-4000-8000-000000000005
correlation:
  type: temporal_ordered
  rules: [login, sudo]
  group-by: [who]
  aliases: {who: {login: user_id, sudo: details.by}}
  timespan: 1m
---
title: Stop
name: stop
id: 10000000-0000-4000-8000-000000000007
logsource: {product: auditflow, category: service}
detection: {s: {action_result: STOPPED}, condition: s}
---
title: Loud
id: 10000000-0000-4000-8000-000000000006
correlation:
  type: event_count
  rules: [stop]
  group-by: [user_id]
  timespan: 1m
  generate: true
  condition: {gt: 3}
---
title: Guessing
name: guessing
id: 10000000-0000-4000-8000-000000000008
correlation:
  type: event_count
  rules: [other_login]
  group-by: [user, server_hostname]
  aliases: {user: {other_login: user_id}}
  timespan: 1m
  condition: {gte: 3}
---
title: Guessing on several hosts
name: hosts
id: 10000000-0000-4000-8000-000000000009
correlation:
  type: value_count
  rules: [guessing]
  group-by: [user]
  timespan: 10m
  condition: {gte: 2, field: server_hostname}
---
title: Guessing that goes on
id: 10000000-0000-4000-8000-00000000000a
correlation:
  type: event_count
  rules: [guessing]
  group-by: [user]
  timespan: 1h
  condition: {gte: 3}
---
title: Guessing, then sudo
id: 10000000-0000-4000-8000-00000000000b
correlation:
  type: temporal_ordered
  rules: [hosts, other_sudo]
  group-by: [who]
  aliases: {who: {hosts: user, other_sudo: details.by}}
  timespan: 1h
  generate: true
---
title: Other login
name: other_login
id: 10000000-0000-4000-8000-00000000000c
logsource: {product: auditflow, category: authentication}
detection: {s: {event_type: user_login, action_result: LOCKED}, condition: s}
---
title: Other sudo
name: other_sudo
id: 10000000-0000-4000-8000-00000000000d
logsource: {product: auditflow, category: process_creation}
detection: {s: {event_type: sudo_command, action_result: LOCKED}, condition: s}
---
title: Everybody
id: 10000000-0000-4000-8000-00000000000e
correlation:
  type: event_count
  rules: [other_sudo]
  timespan: 1m
  condition: {gte: 3}
"""

TESTS = """
defaults: {event_type: user_login, action_result: FAILURE, user_id: alice, client_ip: 192.0.2.1}
tests:
  - name: three users from one address
    events: [{at: 0, user_id: a}, {at: 1, user_id: b}, {at: 2, user_id: c}]
    fires: {Spray: 1}
  - name: one user three times is no spray
    events: [{at: 0, times: 3}]
    fires: {}
  - name: three users from three addresses
    events: [{at: 0, user_id: a, client_ip: 192.0.2.1}, {at: 1, user_id: b, client_ip: 192.0.2.2}, {at: 2, user_id: c, client_ip: 192.0.2.3}]
    fires: {}
  - name: the middle one arrives last
    events: [{at: 0, user_id: a}, {at: 299, user_id: c}, {at: 150, user_id: b}]
    fires: {Spray: 1}
  - name: a value that came early does not hold the window open
    events: [{at: 0, user_id: a}, {at: 200, user_id: b}, {at: 320, user_id: c}]
    fires: {}
  - name: both, in one order
    events: [{at: 0}, {at: 30, event_type: sudo_command, details: {by: somebody}}]
    fires: {Both: 1}
  - name: both, in the other order
    events: [{at: 30}, {at: 0, event_type: sudo_command, details: {by: somebody}}]
    fires: {Both: 1}
  - name: one after the other, under names of their own
    events: [{at: 0}, {at: 59, event_type: sudo_command, user_id: root, details: {by: alice}}]
    fires: {One after the other: 1}
  - name: the first arrives last
    events: [{at: 59, event_type: sudo_command, user_id: root, details: {by: alice}}, {at: 0}]
    fires: {One after the other: 1}
  - name: the wrong way round
    events: [{at: 10}, {at: 0, event_type: sudo_command, user_id: root, details: {by: alice}}]
    fires: {}
  - name: a rule that also speaks for itself, and more than three
    events: [{at: 0, event_type: service_status_change, action_result: STOPPED, times: 4}]
    fires: {Loud: 1, Stop: 4}
  - name: a rule that only feeds others says nothing
    events: [{at: 0, event_type: sudo_command}]
    fires: {}
  - name: a correlation that only feeds others says nothing
    events: [{at: 0, action_result: LOCKED, server_hostname: a, times: 3}]
    fires: {}
  - name: what it found on two hosts
    events:
      - {at: 0, action_result: LOCKED, server_hostname: a, times: 3}
      - {at: 500, action_result: LOCKED, server_hostname: b, times: 3}
    fires: {Guessing on several hosts: 1}
  - name: what it found on two hosts, too far count_each
    events:
      - {at: 0, action_result: LOCKED, server_hostname: a, times: 3}
      - {at: 600, action_result: LOCKED, server_hostname: b, times: 3}
    fires: {}
  - name: twice the events on one host are one finding, and no second host
    events: [{at: 0, action_result: LOCKED, server_hostname: a, times: 60}]
    fires: {}
  - name: three findings are counted, not the events in them
    events:
      - {at: 0, action_result: LOCKED, server_hostname: a, times: 3}
      - {at: 1000, action_result: LOCKED, server_hostname: a, times: 3}
      - {at: 2000, action_result: LOCKED, server_hostname: a, times: 3}
    fires: {Guessing that goes on: 1}
  - name: three levels, under names of their own, the last event first
    events:
      - {at: 900, event_type: sudo_command, action_result: LOCKED, user_id: root, details: {by: alice}}
      - {at: 500, action_result: LOCKED, server_hostname: b, times: 3}
      - {at: 0, action_result: LOCKED, server_hostname: a, times: 3}
    fires: {Guessing on several hosts: 1, "Guessing, then sudo": 1}
  - name: without a group-by it is about everybody together
    events:
      - {at: 0, event_type: sudo_command, action_result: LOCKED, user_id: a}
      - {at: 1, event_type: sudo_command, action_result: LOCKED, user_id: b}
      - {at: 2, event_type: sudo_command, action_result: LOCKED, user_id: c}
    fires: {Everybody: 1}
"""


def loaded(folder: Path) -> tuple[RuleSet, list[RuleTest]]:
    (folder / "all.yml").write_text(RULES, "utf-8")
    (folder / "all.test.yml").write_text(TESTS, "utf-8")
    return load([folder], lateness=900_000), collect([folder])


@pytest.mark.parametrize("number", range(TESTS.count("- name:")))
def test_correlation(tmp_path: Path, number: int) -> None:
    rules, tests = loaded(tmp_path)
    test = tests[number]
    assert test.run(rules).fires == test.fires, test.name


WRONG = """
title: Login
name: login
id: 10000000-0000-4000-8000-000000000001
logsource: {product: auditflow}
detection: {s: {event_type: user_login}, condition: s}
---
title: Burst
name: burst
id: 10000000-0000-4000-8000-000000000002
correlation: {type: event_count, rules: [login], group-by: [client_ip], timespan: 1m, condition: {gte: 3}}
---
title: By another field
id: 10000000-0000-4000-8000-000000000003
correlation: {type: event_count, rules: [burst], group-by: [user_id], timespan: 1h, condition: {gte: 3}}
---
title: Of itself
name: itself
id: 10000000-0000-4000-8000-000000000004
correlation: {type: event_count, rules: [itself], group-by: [user_id], timespan: 1h, condition: {gte: 3}}
---
title: An alias of nothing
id: 10000000-0000-4000-8000-000000000005
correlation:
  type: event_count
  rules: [login]
  aliases: {who: {logon: user_id}}
  group-by: [who]
  timespan: 1h
  condition: {gte: 3}
"""


def test_a_fault_of_a_correlation_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text(WRONG, "utf-8")
    with pytest.raises(RuleErrors) as raised:
        load([tmp_path], lateness=0)
    assert [(fault.line, fault.message) for fault in raised.value.faults] == [
        (13, "user_id is not a group-by field of the correlation burst (its fields: client_ip), so its "
             "findings do not have it"),
        (17, "it depends on the correlation 10000000-0000-4000-8000-000000000004, which has a fault "
             "or depends on this one"),
        (22, "aliases.who: logon is not a rule of this correlation"),
    ]  # fmt: skip

"""The rules as their files describe them, with their source."""

from pathlib import Path

import msgspec
import yaml

from audit_analysis.service.rule_catalogue import Catalogue, RuleCatalogue, read
from audit_analysis.service.settings import Settings

BURST = "3f0c2a52-7e0f-4d53-8f4e-0d0f5f1f9a01"
RULE = """\
title: First
id: 11111111-1111-1111-1111-111111111111
logsource: {product: auditflow}
detection: {selection: {event_type: a}, condition: selection}
level: low
---
title: Second
id: 22222222-2222-2222-2222-222222222222
correlation:
  type: event_count
  rules: [11111111-1111-1111-1111-111111111111, 22222222-2222-2222-2222-222222222222]
  group-by: [user_id]
  timespan: 1m
  condition: {gte: 2}
---
title: Backup
id: 33333333-3333-3333-3333-333333333333
logsource: {product: auditflow}
filter: {rules: any, selection: {user_id: backup}, condition: not selection}
auditflow: {owner: dana, reason: planned, expires: 2027-03-01}
"""


def test_the_shipped_rules_have_all_parts() -> None:
    catalogue, sources = read(Settings.model_fields["rules_paths"].default)
    rules = {rule.id: rule for rule in catalogue.rules}
    burst = rules[BURST]
    assert (burst.title, burst.level, burst.kind) == (
        "Burst of failed logins",
        "high",
        "event_count",
    )
    assert burst.file == "auditflow/failed_login_burst.yml"
    assert "attack.t1110.001" in burst.tags
    assert burst.falsepositives
    assert burst.tests >= 5
    assert (burst.runbook or "").endswith("#burst-of-failed-logins")
    (source,) = burst.inputs
    assert source.logsource == {"product": "auditflow", "category": "authentication"}
    assert rules[source.id].feeds
    assert not burst.feeds
    (column,) = [item for item in catalogue.matrix if item.name == "Credential Access"]
    (guessing,) = [item for item in column.techniques if item.id == "T1110.001"]
    assert BURST in guessing.rules
    # The source of a rule is its own document only.
    assert yaml.safe_load(sources[BURST].source)["title"] == "Burst of failed logins"
    assert len(yaml.safe_load(sources[BURST].tests)["tests"]) == burst.tests


def test_a_correlation_that_refers_to_itself_ends(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(RULE)
    catalogue, sources = read([tmp_path])
    first, second = catalogue.rules
    assert [rule.id for rule in second.inputs] == [first.id]
    assert sources[first.id].source.startswith("title: First")
    assert "---" not in sources[first.id].source
    (exclusion,) = catalogue.exclusions
    assert (exclusion.owner, exclusion.expires, exclusion.rules) == ("dana", "2027-03-01", ())


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(RULE)
    catalogue = RuleCatalogue([tmp_path])
    assert len(msgspec.json.decode(catalogue.encoded(), type=Catalogue).rules) == 2
    file.write_text(RULE.replace("title: First", "title: Changed rule"))
    rules = msgspec.json.decode(catalogue.encoded(), type=Catalogue).rules
    assert rules[0].title == "Changed rule"
    changed = catalogue.source(rules[0].id)
    assert changed is not None
    assert "Changed rule" in changed.source
    assert changed.tests == ""
    assert catalogue.source("unknown") is None


def test_a_file_with_faults_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "broken.yml").write_text("title: [")
    (tmp_path / "list.yml").write_text("- 1\n")
    (tmp_path / "odd.yml").write_text("title: Odd\nid: 7\ndetection: 3\ncorrelation: x\ntags: 5\n")
    (tmp_path / "good.yml").write_text(RULE)
    catalogue, _ = read([tmp_path])
    assert [rule.title for rule in catalogue.rules] == ["First", "Second", "Odd"]

"""Rules come from files: ours, others', with exclusions, and as they change."""

import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from audit_analysis.service.rule_reloader import RuleReloader
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

TODAY = dt.date(2026, 11, 24)


def rule(number: int, value: str = "x", more: str = "") -> str:
    return f"""
title: Rule {number}
id: 20000000-0000-4000-8000-{number:012}
logsource: {{product: auditflow, category: file_event}}
detection: {{s: {{resource: {value}}}, condition: s}}
{more}
"""


def exclusion(number: int, rules: str, expires: str = "2027-01-01") -> str:
    return f"""
title: Ansible may
id: 30000000-0000-4000-8000-{number:012}
logsource: {{product: auditflow, category: file_event}}
filter: {{rules: {rules}, selection: {{user_id: ansible}}, condition: not selection}}
auditflow: {{owner: platform, reason: CHG-1, expires: {expires}}}
"""


def fires(rules: RuleSet, **fields: Any) -> list[str]:
    document = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "file_modified",
        "resource": "x",
        **fields,
    }
    view = View(event.decode(msgspec.json.encode(document)))
    return [match.rule.ref.title for match in rules.match(view)]


def test_an_unusable_foreign_rule_is_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "own" / "1.yml").write_text(rule(1))
    (tmp_path / "foreign" / "2.yml").write_text(rule(2))
    (tmp_path / "foreign" / "bad.yml").write_text("title: [")
    (tmp_path / "foreign" / "twice.yml").write_text(rule(1, "other"))
    rules = load([tmp_path / "own"], lateness=0, foreign=[tmp_path / "foreign"])
    assert fires(rules) == ["Rule 1", "Rule 2"]
    assert [fault.path.name for fault in rules.refused] == ["bad.yml", "twice.yml"]


def test_an_exclusion_takes_good_behaviour_out_and_changes_the_revision(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1))
    before = load([tmp_path], lateness=0, today=TODAY)
    (tmp_path / "2.yml").write_text(exclusion(1, "[20000000-0000-4000-8000-000000000001]"))
    after = load([tmp_path], lateness=0, today=TODAY)
    assert fires(before, user_id="ansible") == ["Rule 1"]
    assert fires(after, user_id="ansible") == []
    assert fires(after, user_id="mallory") == ["Rule 1"]
    assert before.rules[0].ref.revision != after.rules[0].ref.revision


def test_an_exclusion_is_of_its_rules_and_for_its_time_only(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1) + "---" + rule(2))
    (tmp_path / "2.yml").write_text(
        exclusion(1, "[20000000-0000-4000-8000-000000000001]", expires="2026-11-24")
    )
    assert fires(load([tmp_path], lateness=0, today=TODAY), user_id="ansible") == ["Rule 2"]
    tomorrow = TODAY + dt.timedelta(days=1)
    late = load([tmp_path], lateness=0, today=tomorrow)
    assert fires(late, user_id="ansible") == ["Rule 1", "Rule 2"]


def test_an_exclusion_needs_owner_reason_and_end(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(exclusion(1, "any").replace("owner: platform, ", ""))
    with pytest.raises(RuleErrors, match="expires, owner, reason"):
        load([tmp_path], lateness=0, today=TODAY)


def test_a_collection_of_documents_that_complete_each_other(tmp_path: Path) -> None:
    common = "action: global\nlogsource: {product: auditflow, category: file_event}\nlevel: high\n"
    parts = [
        f"title: SafeBatch {number}\nid: 40000000-0000-4000-8000-{number:012}\n"
        f"detection: {{s: {{resource: {value}}}, condition: s}}\n"
        for number, value in ((1, "x"), (2, "y"))
    ]
    (tmp_path / "all.yml").write_text("---\n".join([common, *parts]))
    rules = load([tmp_path], lateness=0)
    assert fires(rules, resource="y") == ["SafeBatch 2"]
    assert {rule.ref.level for rule in rules.rules} == {"high"}


def test_a_foreign_file_with_keys_that_are_no_text_is_refused_with_its_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.yml").write_text(
        rule(1).replace("{s:", "{off:").replace("condition: s", "condition: off")
    )
    (tmp_path / "2.yml").write_text("1: 2")
    rules = load([], lateness=0, foreign=[tmp_path])
    assert {fault.path.name for fault in rules.refused} <= {"1.yml", "2.yml"}
    assert "2.yml" in {fault.path.name for fault in rules.refused}


def test_a_staged_rule_is_marked_as_staged(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1, more="status: experimental"))
    assert load([tmp_path], lateness=0).rules[0].staged


def test_a_change_is_loaded_completely_or_not_at_all(tmp_path: Path) -> None:
    # Given rules that are in force
    (tmp_path / "1.yml").write_text(rule(1))
    registry = CollectorRegistry()
    files = RuleReloader(partial(load, [tmp_path], lateness=0), [tmp_path], registry=registry)
    # when a good rule comes, it is in force
    (tmp_path / "2.yml").write_text(rule(2))
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 1", "Rule 2"]
    # when a bad one comes, what was in force stays, and the fault is told
    (tmp_path / "3.yml").write_text("title: [")
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 1", "Rule 2"]
    assert [fault.path.name for fault in files.state().faults] == ["3.yml"]
    assert registry.get_sample_value("auditflow_analysis_rules_stale") == 1
    # when it is mended, all is well
    (tmp_path / "3.yml").write_text(rule(3))
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 1", "Rule 2", "Rule 3"]
    assert files.state().faults == ()
    assert registry.get_sample_value("auditflow_analysis_rules_stale") == 0
    assert registry.get_sample_value("auditflow_analysis_rules") == 3


def test_a_folder_mounted_by_kubernetes_changes_by_its_link(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"data-{number}").mkdir()
        (tmp_path / f"data-{number}" / "r.yml").write_text(rule(number))
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "..data").symlink_to(tmp_path / "data-1")
    (mount / "r.yml").symlink_to(mount / "..data" / "r.yml")
    files = RuleReloader(partial(load, [mount], lateness=0), [mount], registry=CollectorRegistry())
    assert fires(files.current()) == ["Rule 1"]
    (mount / "next").symlink_to(tmp_path / "data-2")
    (mount / "next").rename(mount / "..data")
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 2"]


PLACEHOLDERS = """
title: Rule 1
id: 20000000-0000-4000-8000-000000000001
logsource: {product: auditflow, category: file_event}
detection:
  s: {resource|expand: '/srv/%team%/%what%', user_id|re|expand: '^%who%$'}
  t: {resource|contains|expand: '%what%'}
  condition: 1 of *
"""


def test_placeholders_have_the_values_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(PLACEHOLDERS)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "placeholders.yml").write_text(
        "team: [a, b]\nwhat: ['*.key', 7]\nwho: 'adm-\\d+'\n"
    )
    rules = load([tmp_path], lateness=0)
    assert fires(rules, resource="/srv/b/x.key", user_id="adm-12") == ["Rule 1"]
    assert fires(rules, resource="/srv/b/7", user_id="adm-1") == ["Rule 1"]
    assert fires(rules, resource="/srv/c/8", user_id="adm-1") == []
    assert fires(rules, resource="about 7 of them", user_id="bob") == ["Rule 1"]
    # and their revision changes with it
    (tmp_path / "more" / "placeholders.yml").write_text("team: a\nwhat: x\nwho: y\n")
    changed = load([tmp_path], lateness=0)
    assert fires(changed, resource="/srv/b/7") == []
    assert changed.rules[0].ref.revision != rules.rules[0].ref.revision


def test_an_undefined_placeholder_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(2) + "---" + PLACEHOLDERS)
    (tmp_path / "placeholders.yml").write_text("team: a\nflag: true\nnone:\nlist: [{}]\n")
    with pytest.raises(RuleErrors) as raised:
        load([tmp_path], lateness=0)
    assert [(fault.path.name, fault.line, fault.message) for fault in raised.value.faults] == [
        ("1.yml", 8, "the placeholder %what% is defined in no placeholders.yml"),
        ("1.yml", 8, "the placeholder %who% is defined in no placeholders.yml"),
        ("placeholders.yml", 2, "flag: must be a text, a number, or a list of these"),
        ("placeholders.yml", 3, "none: must be a text, a number, or a list of these"),
        ("placeholders.yml", 4, "list: must be a text, a number, or a list of these"),
    ]


def test_placeholders_are_reported_once(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "1" / "placeholders.yml").write_text("team: a\n")
    (tmp_path / "2" / "placeholders.yml").write_text("team: b\n")
    with pytest.raises(RuleErrors, match=r"team: is already defined at .*1/placeholders.yml:1"):
        load([tmp_path / "1", tmp_path / "2"], lateness=0)


def test_a_mounted_config_map_is_one_set_and_followed(tmp_path: Path) -> None:
    # Given a ConfigMap as the kubelet mounts it
    def mount(version: str, **files: str) -> None:
        (tmp_path / version).mkdir()
        for name, text in files.items():
            (tmp_path / version / f"{name}.yml").write_text(text)
        (tmp_path / "..data.new").symlink_to(version)
        (tmp_path / "..data.new").rename(tmp_path / "..data")

    mount("..1", rules=PLACEHOLDERS, placeholders="team: a\nwhat: x\nwho: y\n")
    for name in ("rules.yml", "placeholders.yml"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    files = RuleReloader(
        partial(load, [tmp_path], lateness=0), [tmp_path], registry=CollectorRegistry()
    )
    assert fires(files.current(), resource="an x") == ["Rule 1"]
    # when it changes
    mount("..2", rules=PLACEHOLDERS, placeholders="team: a\nwhat: z\nwho: y\n")
    files.reload_if_changed()
    # then the new values are in force
    assert fires(files.current(), resource="an x") == []
    assert fires(files.current(), resource="a z") == ["Rule 1"]

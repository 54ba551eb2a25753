"""Loads rule files: own and foreign rules, exclusions, placeholders, and changes of files."""

import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from audit_analysis.service import app
from audit_analysis.service.rule_catalogue import RuleCatalogue
from audit_analysis.service.rule_reloader import RuleReloader
from audit_analysis.service.watchdog import Watchdog
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import LoadedRules, load, load_valid
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event
from auditflow.http.health import Health

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


def reloader(folder: Path, registry: CollectorRegistry | None = None) -> RuleReloader:
    return RuleReloader(
        lambda previous: load_valid([folder], lateness=0, previous=previous),
        [folder],
        registry=registry or CollectorRegistry(),
    )


def fires(rules: RuleSet, **changed: Any) -> list[str]:
    fields = {
        "event_id": "e",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_type": "file_modified",
        "resource": "x",
        **changed,
    }
    view = View(event.decode(msgspec.json.encode(fields)))
    return [detector.rule.ref.title for detector in rules.match(view)]


def test_foreign_rules_with_faults_are_skipped_and_listed(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "own" / "1.yml").write_text(rule(1))
    (tmp_path / "foreign" / "2.yml").write_text(rule(2))
    (tmp_path / "foreign" / "bad.yml").write_text("title: [")
    (tmp_path / "foreign" / "twice.yml").write_text(rule(1, "other"))
    rules = load([tmp_path / "own"], lateness=0, foreign=[tmp_path / "foreign"])
    assert fires(rules) == ["Rule 1", "Rule 2"]
    assert [fault.path.name for fault in rules.refused] == ["bad.yml", "twice.yml"]


def test_exclusion_removes_matches_and_changes_the_revision(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1))
    before = load([tmp_path], lateness=0, today=TODAY)
    (tmp_path / "2.yml").write_text(exclusion(1, "[20000000-0000-4000-8000-000000000001]"))
    after = load([tmp_path], lateness=0, today=TODAY)
    assert fires(before, user_id="ansible") == ["Rule 1"]
    assert fires(after, user_id="ansible") == []
    assert fires(after, user_id="mallory") == ["Rule 1"]
    assert before.rules[0].ref.revision != after.rules[0].ref.revision


def test_exclusion_applies_to_its_rules_until_it_expires(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1) + "---" + rule(2))
    (tmp_path / "2.yml").write_text(
        exclusion(1, "[20000000-0000-4000-8000-000000000001]", expires="2026-11-24")
    )
    assert fires(load([tmp_path], lateness=0, today=TODAY), user_id="ansible") == ["Rule 2"]
    tomorrow = TODAY + dt.timedelta(days=1)
    late = load([tmp_path], lateness=0, today=tomorrow)
    assert fires(late, user_id="ansible") == ["Rule 1", "Rule 2"]


def test_exclusion_requires_owner_reason_and_expiry(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(exclusion(1, "any").replace("owner: platform, ", ""))
    with pytest.raises(RuleErrors, match="expires, owner, reason"):
        load([tmp_path], lateness=0, today=TODAY)


def test_documents_of_a_collection_complete_each_other(tmp_path: Path) -> None:
    common = "action: global\nlogsource: {product: auditflow, category: file_event}\nlevel: high\n"
    parts = [
        f"title: Part {number}\nid: 40000000-0000-4000-8000-{number:012}\n"
        f"detection: {{s: {{resource: {value}}}, condition: s}}\n"
        for number, value in ((1, "x"), (2, "y"))
    ]
    (tmp_path / "all.yml").write_text("---\n".join([common, *parts]))
    rules = load([tmp_path], lateness=0)
    assert fires(rules, resource="y") == ["Part 2"]
    assert {loaded.ref.level for loaded in rules.rules} == {"high"}


def test_foreign_file_with_keys_that_are_not_text_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.yml").write_text(
        rule(1).replace("{s:", "{off:").replace("condition: s", "condition: off")
    )
    (tmp_path / "2.yml").write_text("1: 2")
    rules = load([], lateness=0, foreign=[tmp_path])
    assert {fault.path.name for fault in rules.refused} <= {"1.yml", "2.yml"}
    assert "2.yml" in {fault.path.name for fault in rules.refused}


def test_experimental_rule_is_staged(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1, more="status: experimental"))
    assert load([tmp_path], lateness=0).rules[0].staged


def test_file_with_faults_does_not_affect_other_files(tmp_path: Path) -> None:
    # Given active rules
    (tmp_path / "1.yml").write_text(rule(1))
    registry = CollectorRegistry()
    files = reloader(tmp_path, registry)
    failed = partial(
        registry.get_sample_value, "auditflow_analysis_rule_files_failed", {"file": "3.yml"}
    )
    # when a file with faults and a valid file are added
    (tmp_path / "3.yml").write_text("title: [")
    (tmp_path / "2.yml").write_text(rule(2))
    files.reload_if_changed()
    # then the valid rules are active, and the faults are reported. No rule is outdated.
    assert fires(files.current()) == ["Rule 1", "Rule 2"]
    assert [fault.path.name for fault in files.loaded().faults] == ["3.yml"]
    assert failed() == 1
    assert registry.get_sample_value("auditflow_analysis_rules_stale") == 0
    # when the file is fixed, nothing is reported
    (tmp_path / "3.yml").write_text(rule(3))
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 1", "Rule 2", "Rule 3"]
    assert files.loaded().faults == ()
    assert failed() is None
    assert registry.get_sample_value("auditflow_analysis_rules") == 3


def test_previous_version_of_a_file_stays_active_while_its_new_version_has_faults(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.yml").write_text(rule(1, "'%name%'").replace("resource:", "resource|expand:"))
    (tmp_path / "2.yml").write_text(rule(2, "old"))
    (tmp_path / "placeholders.yml").write_text("name: x\n")
    registry = CollectorRegistry()
    files = reloader(tmp_path, registry)
    for bad in ("title: [", rule(2, "new").replace("condition: s", "condition: unknown")):
        (tmp_path / "2.yml").write_text(bad)
        (tmp_path / "placeholders.yml").write_text("name: {}\n")
        files.reload_if_changed()
        assert fires(files.current()) == ["Rule 1"]
        assert fires(files.current(), resource="old") == ["Rule 2"]
        assert registry.get_sample_value("auditflow_analysis_rules_stale") == 1
        assert {path.name for path in files.loaded().outdated} == {"2.yml", "placeholders.yml"}
    (tmp_path / "2.yml").write_text(rule(2, "new"))
    (tmp_path / "placeholders.yml").unlink()
    files.reload_if_changed()
    assert fires(files.current(), resource="new") == ["Rule 2"]
    assert [fault.path.name for fault in files.loaded().faults] == ["1.yml"]
    assert registry.get_sample_value("auditflow_analysis_rules_stale") == 0


def test_route_names_each_failed_file(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text(rule(1))
    (tmp_path / "2.yml").write_text("title: [")
    registry = CollectorRegistry()
    watchdog = Watchdog(registry, limit=1, strikes=0)
    catalogue = RuleCatalogue([tmp_path])
    web = app.create(reloader(tmp_path), watchdog, Health({}), registry, catalogue=catalogue)
    body = web.test_client().get("/rules").get_json()
    assert [active["rule"]["title"] for active in body["rules"]] == ["Rule 1"]
    assert body["failed_files"] == [
        {
            "file": str(tmp_path / "2.yml"),
            "previous_version_active": False,
            "faults": [{"line": 2, "message": "YAML: did not find expected node content"}],
        }
    ]


def test_start_with_faults_only_has_no_rules_and_reports_them(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text("title: [")
    (tmp_path / "2.yml").symlink_to(tmp_path / "missing")
    files = reloader(tmp_path)
    assert files.current().rules == ()
    assert [fault.path.name for fault in files.loaded().faults] == ["1.yml", "2.yml"]


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    assert [str(fault) for fault in reloader(tmp_path / "missing").loaded().faults] == [
        f"{tmp_path / 'missing'}:1: does not exist"
    ]


def test_defect_of_the_loader_keeps_the_active_rules(tmp_path: Path) -> None:
    def load_once(previous: LoadedRules | None) -> LoadedRules:
        if previous is not None:
            raise ZeroDivisionError
        return load_valid([tmp_path], lateness=0)

    (tmp_path / "1.yml").write_text(rule(1))
    registry = CollectorRegistry()
    files = RuleReloader(load_once, [tmp_path], registry=registry)
    (tmp_path / "2.yml").write_text(rule(2))
    files.reload_if_changed()
    assert fires(files.current()) == ["Rule 1"]
    assert registry.get_sample_value("auditflow_analysis_rules_stale") == 1


def test_folder_mounted_by_kubernetes_is_reloaded_when_its_link_changes(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"data-{number}").mkdir()
        (tmp_path / f"data-{number}" / "r.yml").write_text(rule(number))
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "..data").symlink_to(tmp_path / "data-1")
    (mount / "r.yml").symlink_to(mount / "..data" / "r.yml")
    files = reloader(mount)
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


def test_placeholders_are_replaced_by_the_values_of_a_file(tmp_path: Path) -> None:
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
    # The revision changes with the values.
    (tmp_path / "more" / "placeholders.yml").write_text("team: a\nwhat: x\nwho: y\n")
    changed = load([tmp_path], lateness=0)
    assert fires(changed, resource="/srv/b/7") == []
    assert changed.rules[0].ref.revision != rules.rules[0].ref.revision


def test_undefined_placeholder_is_reported_with_its_location(tmp_path: Path) -> None:
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


def test_placeholder_can_be_defined_once_only(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "1" / "placeholders.yml").write_text("team: a\n")
    (tmp_path / "2" / "placeholders.yml").write_text("team: b\n")
    with pytest.raises(RuleErrors, match=r"team: is already defined at .*1/placeholders.yml:1"):
        load([tmp_path / "1", tmp_path / "2"], lateness=0)


def test_mounted_config_map_is_reloaded_when_it_changes(tmp_path: Path) -> None:
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
    files = reloader(tmp_path)
    assert fires(files.current(), resource="an x") == ["Rule 1"]
    # when the ConfigMap changes
    mount("..2", rules=PLACEHOLDERS, placeholders="team: a\nwhat: z\nwho: y\n")
    files.reload_if_changed()
    # then the new values are active
    assert fires(files.current(), resource="an x") == []
    assert fires(files.current(), resource="a z") == ["Rule 1"]

"""The shipped rules: each has the fields, tests and runbook that an analyst needs."""

import re
import textwrap
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from click.testing import CliRunner

import audit_analysis
from audit_analysis.cli import catalogue
from audit_analysis.cli import rules as rules_command
from audit_analysis.ruletools import coverage, ruletest
from audit_analysis.sigma import documents
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet

PACK = Path(audit_analysis.__file__).parent / "rules"
REPOSITORY = Path(__file__).parents[3]
#: Where a browser finds the runbooks; the pages themselves are in this repository.
RUNBOOKS = "https://github.com/jojees/project-genesis/blob/main/docs/runbooks/rules/"
SOURCES = {"auditflow", "kubernetes", "aws", "linux", "github", "okta", "gcp"}

FILES = documents.files([PACK])
RULES: list[tuple[Path, dict[str, Any]]] = [
    (path, rule)
    for path in FILES
    for rule in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if "filter" not in rule
]
#: Those that can fire: the rest only feeds a correlation.
FIRING = [(path, rule) for path, rule in RULES if "auditflow" in rule]


def by_title(rule: tuple[Path, dict[str, Any]]) -> str:
    path, document = rule
    return f"{path.parent.name}: {document['title']}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pack_covers_every_source() -> None:
    folders = {path.parent.name for path in FILES}

    assert folders == SOURCES
    assert len(FIRING) >= 60
    for folder in folders:
        assert sum(path.parent.name == folder for path, _ in FIRING) >= 5, folder


def test_the_rules_for_hunts_pass_their_tests() -> None:
    result = CliRunner().invoke(rules_command, ["test", str(REPOSITORY / "docs/rules/hunts")])

    assert result.exit_code == 0, result.output
    assert "2 rules: all as expected" in result.output


def test_identifiers_and_titles_are_used_once() -> None:
    identifiers = [rule["id"] for _, rule in RULES]
    titles = [rule["title"] for _, rule in RULES]

    assert len(set(identifiers)) == len(identifiers)
    assert len(set(titles)) == len(titles), "titles are labels of metrics, and names in tests"
    assert {UUID(identifier).version for identifier in identifiers} == {4}


@pytest.mark.parametrize("rule", FIRING, ids=by_title)
def test_a_rule_has_the_fields_that_an_analyst_needs(rule: tuple[Path, dict[str, Any]]) -> None:
    _, document = rule

    assert document["status"] in ("stable", "test", "experimental")
    assert document["author"] == "AuditFlow"
    assert document["date"]
    assert len(document["description"]) >= 20
    assert document["level"] in ("informational", "low", "medium", "high", "critical")
    assert document["falsepositives"]
    assert document["auditflow"]["sentence"]
    tags = document["tags"]
    assert any(coverage.technique(tag).name for tag in tags), "attack.yaml lacks the technique"


@pytest.mark.parametrize("rule", FIRING, ids=by_title)
def test_the_tactics_of_a_rule_are_those_of_its_techniques(
    rule: tuple[Path, dict[str, Any]],
) -> None:
    tags = [tag.removeprefix("attack.") for tag in rule[1]["tags"]]
    techniques = [coverage.technique(tag) for tag in tags if re.match(r"t\d", tag)]
    tactics = {tag for tag in tags if not re.match(r"t\d", tag)}

    assert all(technique.name for technique in techniques), [
        technique.id for technique in techniques
    ]
    assert tactics <= {tactic for technique in techniques for tactic in technique.tactics}
    for technique in techniques:
        assert tactics & set(technique.tactics), f"none of its tactics is one of {technique.id}"


@pytest.mark.parametrize("rule", FIRING, ids=by_title)
def test_the_runbook_of_a_rule_is_there(rule: tuple[Path, dict[str, Any]]) -> None:
    path, document = rule
    address = document["auditflow"]["runbook"]

    assert address.startswith(RUNBOOKS)
    page, _, anchor = address.removeprefix(RUNBOOKS).partition("#")
    assert page == f"{path.parent.name}.md"
    assert anchor in anchors(REPOSITORY / "docs/runbooks/rules" / page)


def test_the_linter_has_nothing_to_improve() -> None:
    assert [entry.advice for entry in catalogue.read([PACK]) if entry.advice] == []


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], lateness=900_000)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_sentence_names_the_actor_and_the_action(path: Path, rules: RuleSet) -> None:
    first, *_ = (
        test for test in ruletest.read(path.with_name(path.stem + documents.TESTS)) if test.fires
    )

    for sentence in first.run(rules).descriptions:
        assert "unknown" not in sentence, "it names a field that such events do not have"
        assert "{" not in sentence


def test_the_examples_of_the_readme_hold(tmp_path: Path) -> None:
    readme = (REPOSITORY / "src/audit-log-analysis/README.md").read_text(encoding="utf-8")
    rule, tests, record = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "read.yml").write_text(rule)
    (tmp_path / "read.test.yml").write_text(tests)
    (tmp_path / "exec.test.yml").write_text(record)
    combined = load([tmp_path, PACK / "kubernetes"], lateness=900_000)

    found = ruletest.collect([tmp_path])

    assert len(found) == 4
    assert [test.failure(combined) for test in found] == [None] * 4


HOW_TO = REPOSITORY / "docs/how-to/add-a-rule.md"


def test_the_guide_for_rules_leads_to_a_valid_rule(tmp_path: Path) -> None:
    """Follow docs/how-to/add-a-rule.md with the files that it contains."""
    text = HOW_TO.read_text(encoding="utf-8")
    rule, tests = (
        textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    )
    path = tmp_path / "wiki_page_deleted.yml"
    path.write_text(rule, encoding="utf-8")
    path.with_name("wiki_page_deleted.test.yml").write_text(tests, encoding="utf-8")

    for command in (["lint", "--strict"], ["test"]):
        result = CliRunner().invoke(rules_command, [*command, str(path)])
        assert result.exit_code == 0, result.output


def test_the_guide_lists_the_rules_that_wake_a_person() -> None:
    """A new critical rule needs a decision, so the list is kept by hand."""
    critical = {rule["title"] for _, rule in FIRING if rule["level"] == "critical"}
    _, _, listed = HOW_TO.read_text(encoding="utf-8").partition("with the level `critical` are:")

    assert {line.split(": ", 1)[1] for line in listed.strip().splitlines()} == critical

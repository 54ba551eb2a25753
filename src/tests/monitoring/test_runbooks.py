"""Every alert has a complete text, a dashboard and a runbook."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

Alerts = dict[str, list[dict[str, Any]]]

SEVERITIES = {"page", "ticket", "info", "none"}
BASE_URL = "https://github.com/jojees/project-genesis/blob/main/"
SECTIONS = ("## What it means", "## Confirm", "## Do", "## Resolved when")


def all_rules(alerts: Alerts) -> list[dict[str, Any]]:
    flat = [rule for rules in alerts.values() for rule in rules]
    assert len(flat) > 40
    return flat


def runbook(root: Path, alert: str) -> Path:
    """The runbook of an alert. Its file name is the alert's name in kebab case."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()
    return root / "docs/runbooks" / f"{name}.md"


def test_every_alert_has_complete_annotations(alerts: Alerts) -> None:
    for rule in all_rules(alerts):
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        annotations = rule["annotations"]
        assert annotations.keys() >= {"summary", "description", "runbook_url", "dashboard"}, rule[
            "alert"
        ]
        assert len(annotations["summary"]) < 80
        assert not annotations["summary"].endswith(".")
        assert len(annotations["description"].split()) > 8


def test_every_alert_has_a_runbook(root: Path, alerts: Alerts) -> None:
    for rule in all_rules(alerts):
        page = runbook(root, rule["alert"])
        assert rule["annotations"]["runbook_url"] == BASE_URL + str(page.relative_to(root))
        text = page.read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        positions = [text.find(section) for section in SECTIONS]
        assert -1 not in positions, page
        assert positions == sorted(positions), page


def test_every_runbook_has_an_alert(root: Path, alerts: Alerts) -> None:
    wanted = {runbook(root, rule["alert"]) for rule in all_rules(alerts)}
    index = root / "docs/runbooks/README.md"
    assert set(index.parent.glob("*.md")) - {index} == wanted
    listed = re.findall(r"^\| \[(\w+)\]\(([\w-]+\.md)\) \| ([\w, ]+) \|", index.read_text(), re.M)
    severities: dict[str, set[str]] = {}
    for rule in all_rules(alerts):
        severities.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    assert {name: set(severity.split(", ")) for name, _, severity in listed} == severities


def test_every_dashboard_link_is_valid(root: Path, alerts: Alerts) -> None:
    boards = {
        board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
        for file in (root / "monitoring/boards/json").glob("*.json")
        for board in [json.loads(file.read_text())]
    }
    for rule in all_rules(alerts):
        link = re.match(r"/d/([\w-]+)(\?|$)", rule["annotations"]["dashboard"])
        assert link
        assert link[1] in boards, rule["alert"]
        variables = re.findall(r"var-(\w+)=", rule["annotations"]["dashboard"])
        assert boards[link[1]].issuperset(variables), rule["alert"]


def test_queries_of_runbooks_are_valid_promql(root: Path, promtool: str, tmp_path: Path) -> None:
    queries = [
        (page.stem, query.replace("'$NS'", "auditflow-prod"))
        for page in sorted((root / "docs/runbooks").glob("*.md"))
        for query in re.findall(r"query '(.+?)'(?=\n|`)", page.read_text())
    ]
    assert len(queries) > 20
    rules = [
        {"record": f"a{number}", "expr": query, "labels": {"page": page}}
        for number, (page, query) in enumerate(queries)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    process = subprocess.run(
        (promtool, "check", "rules", str(file)), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr

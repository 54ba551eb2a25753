"""Who is woken finds out what it means and what to do: every alert leads somewhere."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

Alerts = dict[str, list[dict[str, Any]]]

SEVERITIES = {"page", "ticket", "info", "none"}
PLACE = "https://github.com/jojees/project-genesis/blob/main/"
SECTIONS = ("## What it means", "## Confirm", "## Do", "## It is over when")


def every(alerts: Alerts) -> list[dict[str, Any]]:
    found = [rule for rules in alerts.values() for rule in rules]
    assert len(found) > 40
    return found


def runbook(root: Path, alert: str) -> Path:
    """An alert's page is never looked up: it is named like it."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()
    return root / "docs/runbooks" / f"{name}.md"


def test_every_alert_says_what_a_tired_person_needs(alerts: Alerts) -> None:
    for rule in every(alerts):
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        notes = rule["annotations"]
        assert notes.keys() >= {"summary", "description", "runbook_url", "dashboard"}, rule["alert"]
        assert len(notes["summary"]) < 80
        assert not notes["summary"].endswith(".")
        assert len(notes["description"].split()) > 8


def test_every_alert_has_a_runbook_that_is_named_like_it(root: Path, alerts: Alerts) -> None:
    for rule in every(alerts):
        page = runbook(root, rule["alert"])
        assert rule["annotations"]["runbook_url"] == PLACE + str(page.relative_to(root))
        text = page.read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        places = [text.find(section) for section in SECTIONS]
        assert -1 not in places, page
        assert places == sorted(places), page


def test_no_runbook_is_of_an_alert_that_is_no_more(root: Path, alerts: Alerts) -> None:
    wanted = {runbook(root, rule["alert"]) for rule in every(alerts)}
    index = root / "docs/runbooks/README.md"
    assert set(index.parent.glob("*.md")) - {index} == wanted
    listed = re.findall(r"^\| \[(\w+)\]\(([\w-]+\.md)\) \| ([\w, ]+) \|", index.read_text(), re.M)
    severities: dict[str, set[str]] = {}
    for rule in every(alerts):
        severities.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    assert {name: set(severity.split(", ")) for name, _, severity in listed} == severities


def test_every_dashboard_link_leads_to_a_board(root: Path, alerts: Alerts) -> None:
    boards = {
        board["uid"]: {one["name"] for one in board["templating"]["list"]}
        for file in (root / "monitoring/boards/json").glob("*.json")
        for board in [json.loads(file.read_text())]
    }
    for rule in every(alerts):
        link = re.match(r"/d/([\w-]+)(\?|$)", rule["annotations"]["dashboard"])
        assert link
        assert link[1] in boards, rule["alert"]
        chosen = re.findall(r"var-(\w+)=", rule["annotations"]["dashboard"])
        assert boards[link[1]].issuperset(chosen), rule["alert"]


def test_what_a_runbook_asks_prometheus_is_promql(
    root: Path, promtool: str, tmp_path: Path
) -> None:
    asked = [
        (page.stem, question.replace("'$NS'", "auditflow-prod"))
        for page in sorted((root / "docs/runbooks").glob("*.md"))
        for question in re.findall(r"query '(.+?)'(?=\n|`)", page.read_text())
    ]
    assert len(asked) > 20
    rules = [
        {"record": f"a{number}", "expr": question, "labels": {"page": page}}
        for number, (page, question) in enumerate(asked)
    ]
    file = tmp_path / "questions.yaml"
    file.write_text(json.dumps({"groups": [{"name": "questions", "rules": rules}]}))
    done = subprocess.run(
        (promtool, "check", "rules", str(file)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

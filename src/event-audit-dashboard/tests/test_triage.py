"""Actions on alerts without JavaScript: forms, notices and undo."""

import datetime as dt
import re
from typing import Any

import pytest

from event_audit_dashboard import actions

ALERT_ID = "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"


def submit(analyst: Any, path: str, page: str = "/alerts", **fields: Any) -> Any:
    data = {"csrf_token": analyst.token(page), "back": page, **fields}
    return analyst.http.post(path, data=data, follow_redirects=True)


def test_an_action_on_a_selection_with_a_comment_and_its_undo(analyst: Any, many: Any) -> None:
    selected = [item for item in many.alerts if item["status"] == "open"][:3]
    ids = [item["alert_id"] for item in selected]
    page = submit(
        analyst, "/alerts/actions", id=ids, do="resolve:false_positive", comment="backup job"
    )
    assert "3 alerts resolved: False positive" in page.text
    assert {item["verdict"] for item in selected} == {"false_positive"}
    assert [entry["comment"] for entry in many.history] == ["backup job"] * 3
    assert {entry["actor"] for entry in many.history} == {"admin"}
    # The notice is shown once and has the undo.
    bulk_id = re.search(r'name="bulk_id" value="([^"]+)"', page.text)
    assert bulk_id
    assert "alerts resolved" not in analyst.get("/alerts").text
    page = submit(analyst, "/alerts/undo", bulk_id=bulk_id[1])
    assert "Undone for 3 alerts" in page.text
    assert {item["status"] for item in selected} == {"open"}


def test_an_action_on_all_alerts_of_the_filter(analyst: Any, many: Any) -> None:
    query = "status=open&level=high"
    expected = [
        item for item in many.alerts if item["status"] == "open" and item["level"] == "high"
    ]
    page = submit(analyst, "/alerts/actions", do="acknowledge", scope="filter", query=query)
    assert f"{len(expected)} alerts acknowledged" in page.text
    assert many.actions[-1][1]["filter"] == {"status": "open", "level": "high"}
    assert {item["status"] for item in expected} == {"acknowledged"}


def test_what_the_state_does_not_allow_is_reported(analyst: Any, many: Any) -> None:
    done = next(item for item in many.alerts if item["status"] == "resolved")
    opened = next(item for item in many.alerts if item["status"] == "open")
    ids = [done["alert_id"], opened["alert_id"]]
    page = submit(analyst, "/alerts/actions", id=ids, do="acknowledge")
    assert "1 alert acknowledged; not possible for 1 alert: It is not open." in page.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do": "acknowledge"}, "Select at least one alert."),
        ({"id": "x", "do": "explode"}, "Select an action."),
        ({"id": "x"}, "Select an action."),
        ({"id": "x", "do": "comment"}, "Enter a comment."),
        ({"id": "x", "do": "resolve:maybe"}, "Select a verdict."),
        ({"id": "x", "do": "resolve:duplicate_of"}, "Enter the identifier"),
        ({"id": "x", "do": "snooze:forever"}, "Select a snooze time."),
        ({"id": "x", "do": "assign"}, "Enter the name"),
        ({"do": "acknowledge", "scope": "filter", "query": "status=no"}, "Nothing was changed."),
    ],
)
def test_an_incomplete_form_is_explained(
    analyst: Any, many: Any, fields: dict[str, str], message: str
) -> None:
    page = submit(analyst, "/alerts/actions", **fields)
    assert message in page.text
    assert many.actions == []


def test_actions_on_the_page_of_an_alert(analyst: Any, many: Any) -> None:
    item = next(item for item in many.alerts if item["status"] == "open")
    path = f"/alerts/{item['alert_id']}"
    for action in ("acknowledge", "assign:me", "comment", "snooze:1h", "resolve:benign"):
        page = submit(analyst, f"{path}/actions", path, do=action, comment="<b>why</b>")
        assert page.status_code == 200
        assert "Undo" in page.text
    assert item["status"] == "resolved"
    assert item["assignee"] == "admin"
    assert "resolved the alert: Benign" in page.text
    assert "acknowledged the alert" in page.text
    assert "&lt;b&gt;why&lt;/b&gt;" in page.text
    page = submit(analyst, "/alerts/undo", path, alert_id=item["alert_id"])
    assert "Undone" in page.text
    assert item["status"] == "acknowledged"


def test_events_and_history_are_read_again_when_the_alert_has_changed(
    analyst: Any, many: Any
) -> None:
    item = next(item for item in many.alerts if item["status"] == "open")
    path = f"/alerts/{item['alert_id']}"

    def parts_read() -> list[str]:
        names = [it.rpartition("/")[2] for it, *_ in many.requests if item["alert_id"] in it]
        return [name for name in names if name in ("events", "history")]

    for _ in range(3):
        assert "evening shift" not in analyst.get(path).text
    assert parts_read() == ["events", "history"]
    page = submit(analyst, f"{path}/actions", path, do="comment", comment="evening shift")
    assert "evening shift" in page.text
    assert parts_read() == ["events", "history"] * 2
    item["updated_at"] = "2026-01-01T00:00:00Z"
    analyst.get(path)
    assert parts_read() == ["events", "history"] * 3


def test_a_change_by_another_user_is_reported(analyst: Any, many: Any) -> None:
    item = next(item for item in many.alerts if item["status"] == "open")
    path = f"/alerts/{item['alert_id']}"
    page = submit(analyst, f"{path}/actions", path, do="acknowledge", version="99")
    assert "The alert has changed since it was read." in page.text
    assert item["status"] == "open"


def test_forms_need_a_csrf_token(analyst: Any, many: Any) -> None:
    alert_id = many.alerts[0]["alert_id"]
    for path in ("/alerts/actions", f"/alerts/{alert_id}/actions", "/alerts/undo"):
        assert analyst.http.post(path, data={"do": "acknowledge"}).status_code == 400
    assert many.actions == []


def test_the_page_after_an_action_is_on_this_site(analyst: Any, many: Any) -> None:
    data = {"csrf_token": analyst.token("/alerts"), "back": "//evil.example", "do": "x"}
    assert analyst.http.post("/alerts/actions", data=data).location == "/"


def test_commands_are_parsed() -> None:
    now = dt.datetime(2026, 5, 4, 9, 8, 7, 5, tzinfo=dt.UTC)

    def parse(**form: str) -> actions.Command:
        return actions.parse(form, person="dana", now=now)

    assert parse(do="assign:me").fields == {"assignee": "dana"}
    assert parse(do="assign:nobody").fields == {"assignee": None}
    assert parse(do="assign", assignee=" kim ").fields == {"assignee": "kim"}
    assert parse(do="snooze:1h").fields == {"until": "2026-05-04T10:08:07+00:00"}
    assert parse(do="snooze:escalation").fields == {"until_escalation": True}
    assert parse(do="resolve:duplicate_of", duplicate_of="x").fields == {
        "verdict": "duplicate_of",
        "duplicate_of": "x",
    }
    for text in (f" {ALERT_ID} ", f"/alerts/{ALERT_ID}", f"https://x/alerts/{ALERT_ID}?back=1#e"):
        command = parse(do="resolve:duplicate_of", duplicate_of=text)
        assert command.fields["duplicate_of"] == ALERT_ID
    other_page = f"/alerts/{ALERT_ID}-1"
    assert parse(do="resolve:duplicate_of", duplicate_of=other_page).fields["duplicate_of"] == (
        other_page
    )
    assert parse(do="comment", comment="a\r\nb ").fields == {"comment": "a\nb"}
    assert parse(do="resolve:benign").done(2) == "2 alerts resolved: Benign"
    assert parse(do="assign:nobody").done(1) == "1 alert unassigned"

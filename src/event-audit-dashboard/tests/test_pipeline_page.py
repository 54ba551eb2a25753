"""The pipeline and its dead letters: roles, confirmation, and hostile messages."""

from typing import Any

import pytest

PAGE = "/pipeline/dead-letters/audit_events"


def test_the_queues_are_shown_with_links_to_their_dead_letters(analyst: Any, api: Any) -> None:
    page = analyst.get("/pipeline").text

    assert "audit_events" in page
    assert f'href="{PAGE}"' in page


def test_a_service_without_the_account_reports_it(analyst: Any, api: Any) -> None:
    api.letters = None

    page = analyst.get("/pipeline")

    assert page.status_code == 200
    assert "RABBITMQ_OPERATOR_PASS" in page.text


def test_a_hostile_message_is_shown_as_text(analyst: Any, api: Any) -> None:
    page = analyst.get(f"{PAGE}/{api.letters[0]['key']}")
    assert "&lt;script&gt;" in page.text
    assert "<script>alert" not in page.text
    raw = analyst.get(f"{PAGE}/{api.letters[0]['key']}?format=text")
    assert raw.content_type == "text/plain; charset=utf-8"
    assert raw.headers["Content-Disposition"].startswith("attachment")


def _post(user: Any, path: str, data: dict[str, Any]) -> Any:
    token = user.token("/settings")
    return user.http.post(path, data={**data, "csrf_token": token}, follow_redirects=True)


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_an_action_is_confirmed_before_it_happens(analyst: Any, api: Any, action: str) -> None:
    key = api.letters[0]["key"]

    page = _post(analyst, PAGE, {"do": action, "key": key})
    assert "1 selected dead letter" in page.text
    assert len(api.letters) == 2

    data = {"do": action, "key": key, "confirmed": "yes", "comment": "a test"}
    page = _post(analyst, PAGE, data)
    assert (
        f"1 dead letter {'replayed' if action == 'replay' else 'discarded'}. 1 remains."
        in page.text
    )
    assert api.dead_letter_requests == [
        (action, {"keys": [key], "reason": None, "comment": "a test"})
    ]


def test_all_with_a_reason_are_selected_without_their_keys(analyst: Any, api: Any) -> None:
    data = {"do": "replay", "scope": "reason", "reason": "not JSON", "confirmed": "yes"}

    _post(analyst, PAGE, data)

    assert api.dead_letter_requests == [
        ("replay", {"keys": [], "reason": "not JSON", "comment": ""})
    ]


@pytest.mark.parametrize(
    ("role", "replay", "discard"),
    [
        ("viewer", False, False),
        ("analyst", False, False),
        ("lead", True, False),
        ("admin", True, True),
    ],
)
def test_a_role_sees_what_it_may_do(
    dashboard: Any, user: Any, api: Any, role: str, replay: bool, discard: bool
) -> None:
    api.role = role
    person = user(dashboard)
    person.sign_in()

    page = person.get(PAGE).text

    assert ("Replay selected" in page) is replay
    assert ("Discard selected" in page) is discard


def test_an_action_without_a_selection_does_nothing(analyst: Any, api: Any) -> None:
    page = _post(analyst, PAGE, {"do": "discard", "confirmed": "yes"})

    assert "Select at least one dead letter." in page.text
    assert api.dead_letter_requests == []


HOUR = {"hour": "2026-01-31T08:00:00Z", "source": "<b>web</b>", "accepted": 5, "missing": 2}


def test_the_ledger_shows_missing_events(make: Any, user: Any, api: Any) -> None:
    api.ledger = {
        "since": "2026-01-30T09:00:00Z",
        "until": "2026-01-31T09:00:00Z",
        "state": "different",
        "archived_until": None,
        "total": {"accepted": 5, "archived": 3, "missing": 2},
        "hours": [{**HOUR, "state": "different"}],
        "differences": [
            {
                "kind": "missing", "hour": HOUR["hour"], "source": HOUR["source"],
                "batch": "<i>b1</i>", "events": 2, "detail": "not archived",
            }
        ],
    }  # fmt: skip
    person = user(make(with_archive=True))
    person.sign_in()

    page = person.get("/pipeline").text

    assert "Events are missing or altered." in page
    assert "5 accepted = 3 archived + 0 waiting + 2 missing" in page
    assert "&lt;b&gt;web&lt;/b&gt;" in page
    assert "2 events of" in page


@pytest.mark.parametrize(
    ("ledger", "text"),
    [(None, "has no ledger"), ({"state": 7}, "The ledger cannot be read")],
)
def test_the_page_works_without_the_ledger(
    make: Any, user: Any, api: Any, ledger: Any, text: str
) -> None:
    api.ledger = ledger
    person = user(make(with_archive=True))
    person.sign_in()

    page = person.get("/pipeline")

    assert page.status_code == 200
    assert text in page.text
    assert "audit_events" in page.text

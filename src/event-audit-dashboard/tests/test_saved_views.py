"""Saved views of the alert list."""

from typing import Any

from markupsafe import escape

from .fake_api import alert


def _post(user: Any, path: str, **data: str) -> Any:
    token = user.token("/settings")
    return user.http.post(path, data={**data, "csrf_token": token}, follow_redirects=True)


def test_a_view_is_saved_shown_and_deleted(analyst: Any, api: Any, now: Any) -> None:
    api.alerts = [alert(1, now=now)]
    name = '<b>"Mine" & critical'

    page = _post(
        analyst, "/alerts/views", name=name, query="status=open&level=critical&cursor=abc&sort=risk"
    )

    assert api.views[0]["query"] == "status=open&level=critical&sort=risk"
    assert api.views[0]["shared"] is False
    assert f'aria-current="true"><bdi>{escape(name)}</bdi>' in page.text
    listed = analyst.get("/alerts/views?format=json").json
    assert listed == [{"name": name, "url": "/alerts?status=open&level=critical&sort=risk"}]

    page = _post(analyst, f"/alerts/views/{api.views[0]['view_id']}/delete")
    assert "The view is deleted." in page.text
    assert "No saved views" in page.text


def test_a_view_with_an_invalid_filter_or_name_is_rejected(analyst: Any, api: Any) -> None:
    for name, query in (("a", "level=loud"), ("", "level=high"), ("a\u202e", "level=high")):
        _post(analyst, "/alerts/views", name=name, query=query)

    assert api.views == []


def test_a_viewer_is_not_offered_to_share(dashboard: Any, user: Any, api: Any, now: Any) -> None:
    api.role = "viewer"
    person = user(dashboard)
    person.sign_in()

    page = person.get("/alerts").text

    assert "Save view" in page
    assert "Share it with everybody" not in page


def test_a_stored_view_that_is_no_longer_valid_does_not_break_the_list(
    analyst: Any, api: Any
) -> None:
    api.views = [
        {
            "view_id": "3f0c8a52-6c56-4a0f-9a57-0e5b7c1d2e3f",
            "name": "Old",
            "query": "colour=red&level=high",
            "shared": True,
            "owner": "bob",
            "created_at": "2026-01-31T08:00:42Z",
        }
    ]

    page = analyst.get("/alerts")

    assert page.status_code == 200
    assert 'href="/alerts?level=high" data-saved' in page.text

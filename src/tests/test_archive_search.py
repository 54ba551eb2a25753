"""An accepted event can be searched in the archive, with the tokens of the notification service."""

import datetime as dt
from functools import partial
from typing import Any

import httpx
from src.tests.platform import Platform, client

from auditflow_local.polling import eventually


def test_an_accepted_event_is_found_and_shown(platform: Platform) -> None:
    event = {
        "event_id": "searched-1",
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "event_type": "user_login",
        "user_id": "searched-user",
        "action_result": "SUCCESS",
    }
    platform.send([event])
    headers = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    with client(base_url=platform.archive.url, headers=headers) as archive:
        eventually(partial(_search, archive), what="the event in the archive")
        (found,) = _search(archive)
        assert found["event_id"] == "searched-1"
        shown = archive.get("/api/v1/events/searched-1").json()
        assert shown["record"]["user_id"] == "searched-user"
        assert archive.get("/api/v1/events/histogram").json()["total"] >= 1
    # and the audit trail states who searched for what, for a person with its name and address
    person = {**headers, "X-AuditFlow-User": "ann", "X-AuditFlow-Address": "203.0.113.7"}
    with client(base_url=platform.archive.url, headers=person) as archive:
        assert len(_search(archive)) == 1
    with platform.api() as api:
        entries = api.get("/api/v1/audit", params={"action": "archive searched"}).json()["entries"]
        (shown,) = api.get("/api/v1/audit", params={"target": "searched-1"}).json()["entries"]
    # the other tests of this platform search too
    searches = [entry for entry in entries if entry["detail"].get("user") == "searched-user"]
    by_person, by_service = searches[0], searches[-1]
    assert (by_person["actor"], by_person["actor_kind"]) == ("ann", "person")
    assert by_person["address"] == "203.0.113.7"
    assert by_person["detail"]["user"] == "searched-user"
    assert by_person["detail"]["results"] == "1"
    assert (by_service["actor"], by_service["actor_kind"]) == ("service", "token")
    assert (shown["action"], shown["outcome"]) == ("archived event shown", "done")
    with client(base_url=platform.archive.url, headers={"Authorization": "Bearer x"}) as stranger:
        assert stranger.get("/api/v1/events").status_code == 401


def _search(archive: httpx.Client) -> list[dict[str, Any]]:
    answer = archive.get("/api/v1/events", params={"user": "searched-user"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
    return found

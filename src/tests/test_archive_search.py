"""An accepted event can be searched in the archive, with the tokens of the notification service."""

import datetime as dt
from functools import partial
from typing import Any

import httpx
from src.tests.platform import Platform, client, eventually


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
    with client(base_url=platform.archive.url, headers={"Authorization": "Bearer x"}) as stranger:
        assert stranger.get("/api/v1/events").status_code == 401


def _search(archive: httpx.Client) -> list[dict[str, Any]]:
    answer = archive.get("/api/v1/events", params={"user": "searched-user"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
    return found

"""A hunt in the archive of the platform publishes alerts, and none that exist already."""

import datetime as dt
from typing import Any

import httpx
from src.tests.events import failed_login
from src.tests.platform import Platform, client

from auditflow_local.polling import eventually

#: A rule that nobody had when the events arrived.
NEW_RULE = """
title: Failed login of a hunted user
id: 8d2f1c5e-7c1b-4a59-9a8e-0c5fb6a4a0d1
status: test
logsource: {product: auditflow}
detection: {login: {event_type: user_login, user_id|startswith: hunted}, condition: login}
level: low
auditflow: {group-by: [user_id]}
"""
SHIPPED_RULE = "Burst of failed logins"


def hunted(archive: httpx.Client, **rule: str) -> dict[str, Any]:
    """The end of a hunt that publishes."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    body = {"since": since.isoformat(), "publish": True, **rule}
    started = archive.post("/api/v1/hunts", json=body).raise_for_status().json()
    found: dict[str, Any] = {}

    def is_final() -> bool:
        found.update(archive.get(f"/api/v1/hunts/{started['hunt_id']}").raise_for_status().json())
        return found["state"] in ("completed", "failed", "cancelled")

    eventually(is_final, what="the end of the hunt")
    assert (found["state"], found.get("error")) == ("completed", None)
    return found


def test_a_hunt_publishes_new_alerts_only(fresh_platform: Platform) -> None:
    platform = fresh_platform  # its archive has no events of other tests
    # Given an alert of live detection
    platform.send([failed_login(f"hunt-{at}", "hunted-user", at=at) for at in range(6)])
    eventually(lambda: len(platform.alerts()) == 1, what="the alert of live detection")
    (before,) = platform.alerts()
    assert before["retro"] is False
    headers = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    with client(base_url=platform.archive.url, headers=headers) as archive:

        def is_archived() -> bool:
            answer = archive.get("/api/v1/events", params={"user": "hunted-user"})
            return len(answer.raise_for_status().json()["events"]) == 6

        eventually(is_archived, what="the events in the archive")

        # when hunts publish the findings of this rule and of a new one, twice
        for _ in range(2):
            assert hunted(archive, rule=SHIPPED_RULE)["published"] == 1
            assert hunted(archive, rules=NEW_RULE)["published"] == 1
    eventually(lambda: len(platform.alerts()) == 2, what="the alert of the hunt")
    eventually(platform.settled, what="rest")

    # then the new rule has an alert, and the alert of live detection is not repeated
    alerts = {alert["title"]: alert for alert in platform.alerts()}
    assert set(alerts) == {SHIPPED_RULE, "Failed login of a hunted user"}
    after = alerts[SHIPPED_RULE]
    unchanged = ("alert_id", "count", "finding_count", "retro", "environment")
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]
    new = alerts["Failed login of a hunted user"]
    assert (new["retro"], new["count"], new["finding_count"]) == (True, 6, 1)

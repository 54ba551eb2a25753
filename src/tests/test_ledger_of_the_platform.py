"""The ledger is balanced after processes were killed, and the archive has the accepted events."""

import datetime as dt
from typing import Any

import httpx
import msgspec
import pytest
from src.tests.platform import Platform, client

from auditflow_local.polling import eventually

COUNT = 600
#: The event that reports the refused record.
REPORTS = 1


def event(name: str) -> dict[str, Any]:
    return {
        "event_id": name,
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "event_type": "user_login",
        "user_id": f"user-{len(name) % 7}",
        "action_result": "SUCCESS",
    }


def total_of(archive: httpx.Client) -> dict[str, int]:
    report = archive.get("/api/v1/ledger").raise_for_status().json()
    assert report["state"] != "different", report["differences"]
    total: dict[str, int] = report["total"]
    return total


@pytest.mark.parametrize("killed", ["archive", "analysis"])
def test_the_ledger_is_balanced_after_a_kill(fresh_platform: Platform, killed: str) -> None:
    platform = fresh_platform
    headers = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    names = [f"ledger-{killed}-{number}" for number in range(COUNT)]
    with client(base_url=platform.archive.url, headers=headers) as archive:
        # Given events of which one is refused, and a process that is killed between them
        for start in range(0, COUNT, 60):
            platform.send([event(name) for name in names[start : start + 60]], chunk=7)
            if start == 240:
                service = getattr(platform, killed)
                service.kill()
                service.respawn()
        with platform.ingest() as ingest:
            answer = ingest.post("/ingest/ndjson", content=b'{"event_type": 1}')
            assert answer.status_code in (200, 202, 207, 400, 422), answer.text
        eventually(platform.archive.ready, what="the archive")

        # when everything is archived and the receipts have arrived
        def balanced() -> bool:
            total = total_of(archive)
            return (
                total["accepted"] == total["archived"]
                and total["waiting"] == total["missing"] == total["unconfirmed"] == 0
                and total["archived"] >= COUNT
            )

        eventually(balanced, what="a balanced ledger")
        # then each event was counted once, and is in the archive once
        total = total_of(archive)
        assert total["analysed"] == COUNT + REPORTS
        assert total["refused"] == 1
        assert total["archived"] == total["analysed"] + total["refused"] + total["dead_lettered"]
        since = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)).isoformat()
        exported = archive.get(
            "/api/v1/events/export",
            params={"since": since, "where": f"event_id|startswith=ledger-{killed}-"},
        ).raise_for_status()
        ids = [msgspec.json.decode(line)["event_id"] for line in exported.content.splitlines()]
        assert sorted(ids) == sorted(names)

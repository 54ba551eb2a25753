"""The demo receiver: signed notifications only, each shown once, hostile texts escaped."""

import hashlib
import hmac
import json
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from auditflow_local.inbox.app import KEPT, Inbox, create

KEY = b"the-key-of-the-inbox"


def notification(identifier: str = "n-1", title: str = "Burst of failed logins") -> dict[str, Any]:
    alert = {"level": "high", "title": title, "reason": "new", "description": "d", "url": None}
    return {"notification_id": identifier, "kind": "alerts", "total": 1, "alerts": [alert],
            "title": title}  # fmt: skip


def signed(document: Any, *, at: float | None = None, key: bytes = KEY) -> dict[str, Any]:
    body = json.dumps(document).encode()
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.digest(key, b"id." + timestamp.encode() + b"." + body, hashlib.sha256)
    headers = {
        "webhook-id": "id",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }
    return {"data": body, "headers": headers}


@pytest.fixture
def client(tmp_path: Path) -> Any:
    return create(Inbox(tmp_path / "inbox.jsonl"), KEY).test_client()


def test_a_notification_is_shown_once(client: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert client.post("/notifications", **signed(notification())).status_code == 200

    assert client.get("/").get_data(as_text=True).count("<article>") == 1
    # and also after a restart
    again = create(Inbox(tmp_path / "inbox.jsonl"), KEY).test_client()
    assert len(again.get("/notifications.json").get_json()) == 1


def test_what_is_not_signed_is_refused(client: Any) -> None:
    good = signed(notification())
    assert client.post("/notifications", data=good["data"]).status_code == 401
    assert client.post("/notifications", data=b"{}", headers=good["headers"]).status_code == 401
    assert client.post("/notifications", **signed({}, key=b"another")).status_code == 401
    old = signed(notification(), at=time.time() - 3600)
    assert client.post("/notifications", **old).status_code == 401
    assert client.post("/notifications", **signed(["no", "notification"])).status_code == 400
    assert client.get("/notifications.json").get_json() == []


def test_hostile_texts_are_escaped(client: Any) -> None:
    client.post("/notifications", **signed(notification(title="<script>alert(1)</script>")))

    page = client.get("/").get_data(as_text=True)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_only_the_newest_are_kept(client: Any) -> None:
    for number in range(KEPT + 5):
        client.post("/notifications", **signed(notification(f"n-{number}")))

    kept = client.get("/notifications.json").get_json()
    assert [item["notification_id"] for item in kept[:2]] == [f"n-{KEPT + 4}", f"n-{KEPT + 3}"]
    assert len(kept) == KEPT


def test_the_name_of_another_service_reads_nothing(client: Any) -> None:
    assert client.get("/", headers={"Host": "attacker.example:30081"}).status_code == 421

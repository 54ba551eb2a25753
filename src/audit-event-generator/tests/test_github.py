"""Conversion of the GitHub audit log and of GitHub webhooks."""

import datetime as dt
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from audit_event_generator.ingest import github, github_webhook
from auditflow.contract.event import Event

from .conftest import DATA, TOKEN, Client, Ingest, RecordingBroker, make_client

RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "github-audit.ndjson").read_text().splitlines()
]
HOOKS: list[dict[str, Any]] = json.loads((DATA / "github-webhooks.json").read_text())
SECRET = "the-webhook-secret"
NOW = dt.datetime(2026, 3, 14, 9, 0, tzinfo=dt.UTC)


def read(record: dict[str, Any]) -> Event:
    return github.to_event(msgspec.json.encode(record))


def find(action: str) -> Event:
    [record] = [entry for entry in RECORDS if entry["action"] == action]
    return read(record)


def test_the_sample_has_actions_of_all_kinds() -> None:
    assert {entry["action"].split(".")[0] for entry in RECORDS} >= {
        "git", "repo", "org", "protected_branch", "hook", "workflows", "team",
        "secret_scanning_alert", "audit_log_streaming", "public_key",
    }  # fmt: skip


def test_repository_access_fields() -> None:
    event = find("repo.access")

    assert event.event_type == "repo.access"
    assert (event.user_id, event.client_ip) == ("nadia-k", "203.0.113.66")
    assert event.resource == "example-org/billing"
    assert event.action_result == "SUCCESS"
    assert event.details is not None
    assert (event.details["visibility"], event.details["previousVisibility"]) == (
        "public",
        "private",
    )
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("github", "audit")


def test_timestamp_in_milliseconds_or_seconds() -> None:
    assert read({"action": "a", "@timestamp": 1767225600123}).timestamp.microsecond == 123_000
    assert read({"action": "a", "created_at": 1767225600}).timestamp.year == 2026


def test_missing_actor_is_absent() -> None:
    event = find("billing.change_email")

    assert event.client_ip is None
    assert read({"action": "a", "@timestamp": 1}).user_id is None


def test_entry_without_id_gets_the_hash_of_its_bytes() -> None:
    first = read({"action": "a", "@timestamp": 1})

    assert first.event_id == read({"action": "a", "@timestamp": 1}).event_id
    assert first.event_id != read({"action": "b", "@timestamp": 1}).event_id


def test_first_organisation_of_an_enterprise_is_the_resource() -> None:
    assert read({"action": "a", "@timestamp": 1, "org": ["first", "second"]}).resource == "first"


def test_webhook_fields() -> None:
    [hook] = [delivery for delivery in HOOKS if delivery["event"] == "member"]

    event = github_webhook.to_event(
        msgspec.json.encode(hook["payload"]), name="member", delivery=hook["delivery"], received=NOW
    )

    assert event.event_type == "member.added"
    assert event.event_id == hook["delivery"]
    assert (event.user_id, event.resource) == ("nadia-k", "example-org/billing")
    assert event.timestamp == NOW
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("github", "webhook")


@pytest.fixture
def signed_client(broker: RecordingBroker, registry: CollectorRegistry) -> Client:
    """A client of a service with a webhook secret."""
    return make_client(broker, registry, github_secret=SECRET)


def headers(body: bytes, *, secret: str = SECRET, **changes: str) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": "repository",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": f"sha256={signature}",
        **changes,
    }


def test_signature_replaces_the_token(signed_client: Client, broker: RecordingBroker) -> None:
    body = msgspec.json.encode(HOOKS[1]["payload"])

    for _ in range(2):
        assert (
            signed_client.post("/ingest/github", data=body, headers=headers(body)).status_code
            == 202
        )

    assert [event.event_type for event in broker.events()] == ["repository.publicized"] * 2
    assert len({event.event_id for event in broker.events()}) == 1, (
        "a redelivery has the same identifier"
    )


def test_signature_example_from_the_documentation_of_github() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert github_webhook.is_signed(b"Hello, World!", signature, "It's a Secret to Everybody")


FORGED = {
    "another secret": headers(b"{}", secret="guess"),
    "another body": headers(b"{ }"),
    "no signature": {k: v for k, v in headers(b"{}").items() if "Signature" not in k},
    "an empty signature": headers(b"{}", **{"X-Hub-Signature-256": ""}),
    "SHA-1": headers(b"{}", **{"X-Hub-Signature-256": "sha1=00"}),
    "not ASCII": headers(b"{}", **{"X-Hub-Signature-256": "sha256=\u00e9"}),
    "a valid token does not replace the signature": {
        **headers(b"{}", secret="guess"),
        "Authorization": f"Bearer {TOKEN}",
    },
}


@pytest.mark.parametrize("name", FORGED)
def test_invalid_signature_is_refused(
    signed_client: Client, broker: RecordingBroker, name: str
) -> None:
    answer = signed_client.post("/ingest/github", data=b"{}", headers=FORGED[name])

    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert broker.messages == []


def test_signature_is_valid_only_for_the_github_route(signed_client: Client) -> None:
    body = b'{"event_type":"a"}'

    assert (
        signed_client.post("/generate_event", data=body, headers=headers(body)).status_code == 401
    )


def test_audit_log_requires_the_token(signed_client: Client) -> None:
    body = (DATA / "github-audit.ndjson").read_bytes()

    assert signed_client.post("/ingest/github", data=body).status_code == 401
    answer = signed_client.post(
        "/ingest/github", data=body, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.json == {"accepted": len(RECORDS), "refused": 0, "errors": []}


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b"", {}, 400),
        (b"payload=%7B%7D", {}, 400),
        (b"[]", {}, 422),
        (b'{"sender": 5}', {}, 422),
        (b"{}", {"X-GitHub-Event": "two words"}, 422),
        (b"{}", {"X-GitHub-Delivery": ""}, 422),
        (b"[" * 60_000 + b"]" * 60_000, {}, 422),
    ],
)
def test_invalid_delivery_is_refused(
    ingest: Ingest, broker: RecordingBroker, body: bytes, changes: dict[str, str], status: int
) -> None:
    given = {"X_GitHub_Event": "repository", "X_GitHub_Delivery": "d"}
    given |= {name.replace("-", "_"): value for name, value in changes.items()}

    answer = ingest.post("/ingest/github", body, **given)

    assert answer.status_code == status, answer.text
    assert ingest.count("refused", "github") == 1
    [letter] = broker.dead_letters()
    assert letter.body == body


@pytest.mark.parametrize(
    "payload", [b'{"action": "a\\u0000"}', b'{"action": "' + b"a" * 300_000 + b'"}']
)
def test_content_of_a_delivery_cannot_prevent_an_event(
    ingest: Ingest, broker: RecordingBroker, payload: bytes
) -> None:
    answer = ingest.post(
        "/ingest/github", payload, X_GitHub_Event="repository", X_GitHub_Delivery="d"
    )

    assert answer.status_code == 202
    [event] = broker.events()
    assert event.event_id == "d"
    assert event.details is not None
    assert "truncated" in event.details

"""What an analyst reads of GitHub's audit log and its webhooks."""

import datetime as dt
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from audit_event_generator.delivery import Delivery
from audit_event_generator.ingest import github, github_webhook
from audit_event_generator.metrics import Metrics
from audit_event_generator.web import app
from auditflow.contract.event import Event
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens

from .conftest import DATA, TOKEN, Ingest, RememberingBroker

RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "github-audit.ndjson").read_text().splitlines()
]
HOOKS: list[dict[str, Any]] = json.loads((DATA / "github-webhooks.json").read_text())
SECRET = "the-webhook-secret"
NOW = dt.datetime(2026, 3, 14, 9, 0, tzinfo=dt.UTC)


def read(record: dict[str, Any]) -> Event:
    return github.event_of(msgspec.json.encode(record))


def find(action: str) -> Event:
    [record] = [one for one in RECORDS if one["action"] == action]
    return read(record)


def test_the_sample_has_actions_of_all_kinds() -> None:
    assert {one["action"].split(".")[0] for one in RECORDS} >= {
        "git", "repo", "org", "protected_branch", "hook", "workflows", "team",
        "secret_scanning_alert", "audit_log_streaming", "public_key",
    }  # fmt: skip


def test_a_repository_that_is_made_public() -> None:
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


def test_the_time_is_in_milliseconds_and_may_be_in_seconds() -> None:
    assert read({"action": "a", "@timestamp": 1767225600123}).timestamp.microsecond == 123_000
    assert read({"action": "a", "created_at": 1767225600}).timestamp.year == 2026


def test_who_is_not_told_is_nobody() -> None:
    event = find("billing.change_email")

    assert event.client_ip is None
    assert read({"action": "a", "@timestamp": 1}).user_id is None


def test_an_entry_without_an_id_is_named_by_its_bytes() -> None:
    one = read({"action": "a", "@timestamp": 1})

    assert one.event_id == read({"action": "a", "@timestamp": 1}).event_id
    assert one.event_id != read({"action": "b", "@timestamp": 1}).event_id


def test_an_enterprise_lists_its_organisations() -> None:
    assert read({"action": "a", "@timestamp": 1, "org": ["first", "second"]}).resource == "first"


def test_a_webhook_says_what_happened() -> None:
    [hook] = [one for one in HOOKS if one["event"] == "member"]

    event = github_webhook.event_of(
        msgspec.json.encode(hook["payload"]), name="member", delivery=hook["delivery"], received=NOW
    )

    assert event.event_type == "member.added"
    assert event.event_id == hook["delivery"]
    assert (event.user_id, event.resource) == ("nadia-k", "example-org/billing")
    assert event.timestamp == NOW
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("github", "webhook")


@pytest.fixture
def signed(broker: RememberingBroker, registry: CollectorRegistry) -> FlaskClient:
    """A client of a service that knows the webhook secret."""
    metrics = Metrics(registry)
    flask = app.create(
        delivery=Delivery(broker, metrics),
        metrics=metrics,
        health=Health({}),
        registry=registry,
        tokens=Tokens(SecretStr(TOKEN)),
        github_secret=SECRET,
    )
    return flask.test_client()


def headers(body: bytes, *, secret: str = SECRET, **changes: str) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": "repository",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": f"sha256={signature}",
        **changes,
    }


def test_a_signature_stands_for_the_token(signed: FlaskClient, broker: RememberingBroker) -> None:
    body = msgspec.json.encode(HOOKS[1]["payload"])

    for _ in range(2):
        assert signed.post("/ingest/github", data=body, headers=headers(body)).status_code == 202

    assert [event.event_type for event in broker.events()] == ["repository.publicized"] * 2
    assert len({event.event_id for event in broker.events()}) == 1, "delivered again it is the same"


def test_githubs_own_example_of_a_signature_is_right() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert github_webhook.is_signed(b"Hello, World!", signature, "It's a Secret to Everybody")


FORGED = {
    "another secret": headers(b"{}", secret="guess"),
    "another body": headers(b"{ }"),
    "no signature": {k: v for k, v in headers(b"{}").items() if "Signature" not in k},
    "an empty one": headers(b"{}", **{"X-Hub-Signature-256": ""}),
    "the old kind": headers(b"{}", **{"X-Hub-Signature-256": "sha1=00"}),
    "not ASCII": headers(b"{}", **{"X-Hub-Signature-256": "sha256=\u00e9"}),
    "a good token does not help": {
        **headers(b"{}", secret="guess"),
        "Authorization": f"Bearer {TOKEN}",
    },
}


@pytest.mark.parametrize("name", FORGED)
def test_what_github_did_not_sign_is_refused(
    signed: FlaskClient, broker: RememberingBroker, name: str
) -> None:
    answer = signed.post("/ingest/github", data=b"{}", headers=FORGED[name])

    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert broker.messages == []


def test_a_signature_opens_no_other_address(signed: FlaskClient) -> None:
    body = b'{"event_type":"a"}'

    assert signed.post("/generate_event", data=body, headers=headers(body)).status_code == 401


def test_the_audit_log_still_wants_the_token(signed: FlaskClient) -> None:
    body = (DATA / "github-audit.ndjson").read_bytes()

    assert signed.post("/ingest/github", data=body).status_code == 401
    answer = signed.post("/ingest/github", data=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json == {"accepted": len(RECORDS), "refused": 0, "errors": []}


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b"", {}, 400),
        (b"payload=%7B%7D", {}, 400),
        (b"[]", {}, 422),
        (b'{"sender": 5}', {}, 422),
        (b'{"action": "a\\u0000"}', {}, 422),
        (b"{}", {"X-GitHub-Event": "two words"}, 422),
        (b"{}", {"X-GitHub-Delivery": ""}, 422),
        (b"[" * 60_000 + b"]" * 60_000, {}, 422),
    ],
)
def test_a_bad_delivery_is_refused(
    ingest: Ingest, body: bytes, changes: dict[str, str], status: int
) -> None:
    given = {"X_GitHub_Event": "repository", "X_GitHub_Delivery": "d"}
    given |= {name.replace("-", "_"): value for name, value in changes.items()}

    answer = ingest.post("/ingest/github", body, **given)

    assert answer.status_code == status, answer.text
    assert ingest.count("refused", "github") == 1

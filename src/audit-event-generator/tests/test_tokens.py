"""Tokens: each one belongs to a source and restricts what the source may send."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from audit_event_generator import tokens
from audit_event_generator.token_registry import CHECK_SECONDS, TokenRegistry
from audit_event_generator.tokens import TokenError, TokenTable, unrestricted

from .conftest import TOKEN, Answer, Client, RecordingBroker, make_client

CLUSTER, APPLICATION, SLOW = "cluster-token-0001", "application-token-01", "slow-token-00000001"
DOCUMENT = f"""
sources:
  cluster:
    routes: [kubernetes]
    tokens_sha256: [{hashlib.sha256(CLUSTER.encode()).hexdigest()}]
  application:
    routes: [api, ndjson]
    tokens: [{APPLICATION}]
    logsource: {{product: shop, service: audit}}
    event_types: ["order_*", refund]
    max_request_bytes: 2000
  slow:
    routes: [ndjson]
    tokens: [{SLOW}]
    logsource: any
    rate: 10/hour
"""
GOOD = b'{"event_type":"order_paid","timestamp":"2026-01-01T00:00:00Z"}'


def post(client: Client, token: str, path: str, body: bytes = GOOD) -> Answer:
    return client.post(path, data=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def client(broker: RecordingBroker, registry: CollectorRegistry, tmp_path: Path) -> Client:
    file = tmp_path / "INGEST_TOKENS"
    file.write_text(DOCUMENT)
    registered = TokenRegistry(unrestricted("default", [TOKEN]), file=file)
    return make_client(broker, registry, tokens=registered)


def test_token_permits_only_its_routes(client: Client, broker: RecordingBroker) -> None:
    answer = post(client, CLUSTER, "/ingest/ndjson")

    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert answer.json["detail"] == (
        "The token of the source cluster permits only these routes: kubernetes."
    )
    assert broker.messages == []
    assert post(client, CLUSTER, "/ingest/okta", b"[]").status_code == 403
    assert (
        client.get("/ingest/okta", headers={"Authorization": f"Bearer {CLUSTER}"}).status_code
        == 403
    )
    body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}'
    assert post(client, CLUSTER, "/ingest/kubernetes", body).status_code == 202


def test_token_without_restrictions_permits_every_route(client: Client) -> None:
    assert post(client, TOKEN, "/ingest/ndjson").status_code == 202
    assert post(client, TOKEN, "/generate_event").status_code == 202


@pytest.mark.parametrize("token", ["", CLUSTER[:-1], f"{CLUSTER}x", "unknown-token-0001"])
def test_other_tokens_are_refused(client: Client, token: str) -> None:
    assert post(client, token, "/ingest/kubernetes").status_code == 401


def test_hash_is_not_a_token(client: Client) -> None:
    digest = hashlib.sha256(CLUSTER.encode()).hexdigest()
    assert post(client, digest, "/ingest/kubernetes").status_code == 401


def test_token_fixes_the_log_source(client: Client, broker: RecordingBroker) -> None:
    forged = GOOD[:-1] + b',"logsource":{"product":"kubernetes","service":"audit"}}'

    assert post(client, APPLICATION, "/ingest/ndjson", forged).status_code == 202
    assert post(client, APPLICATION, "/generate_event", forged).status_code == 202
    assert post(client, APPLICATION, "/generate_event").status_code == 202

    sources = {
        (item.logsource.product, item.logsource.service)
        for item in broker.events()
        if item.logsource
    }
    assert len(broker.events()) == 3
    assert sources == {("shop", "audit")}


def test_token_permits_only_its_event_types(client: Client, broker: RecordingBroker) -> None:
    login = GOOD.replace(b"order_paid", b"user_login")

    single = post(client, APPLICATION, "/generate_event", login)
    batch = post(client, APPLICATION, "/ingest/ndjson", GOOD + b"\n" + login)

    assert single.status_code == 403
    assert single.json["errors"] == [
        {
            "where": "$.event_type",
            "what": "the token of the source application permits the event types order_*, refund",
        }
    ]
    assert (batch.json["accepted"], batch.json["refused"]) == (1, 1)
    assert [item.event_type for item in broker.events()] == ["order_paid"]
    assert len(broker.refusals()) == len(broker.dead_letters()) == 1, "an attempt is reported"


def test_token_limits_the_size(client: Client, broker: RecordingBroker) -> None:
    body = (GOOD + b"\n") * 40

    answer = post(client, APPLICATION, "/ingest/ndjson", body)

    assert answer.status_code == 413
    assert "2000" in answer.json["detail"]
    assert broker.messages == []


def test_token_limits_the_rate(client: Client, broker: RecordingBroker) -> None:
    def send(count: int) -> Answer:
        return post(client, SLOW, "/ingest/ndjson", (GOOD + b"\n") * count)

    assert send(11).status_code == 413, "this request can never be permitted"
    assert send(6).status_code == 202
    refused = send(6)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert "10 per 1 hour" in refused.json["detail"]
    assert send(4).status_code == 202, "a refused request does not count"
    assert send(1).status_code == 429
    assert len(broker.events()) == 10
    assert post(client, TOKEN, "/ingest/ndjson").status_code == 202, "other sources have no limit"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    # given a registry without a file
    clock, file = Clock(), tmp_path / "INGEST_TOKENS"
    registry = TokenRegistry(unrestricted("default", [TOKEN]), file=file, clock=clock)
    assert registry.find(CLUSTER.encode()) is None

    # when the file appears
    file.write_text(DOCUMENT)
    assert registry.find(CLUSTER.encode()) is None, "it is checked once per second"
    clock.now += CHECK_SECONDS
    assert registry.find(CLUSTER.encode()) is not None

    # and becomes invalid, the previous tokens stay valid
    file.write_text("sources: {cluster: {routes: [unknown]}}")
    clock.now += CHECK_SECONDS
    assert registry.find(CLUSTER.encode()) is not None
    assert registry.is_stale

    # and when it is valid again, a removed token is refused
    file.write_text(DOCUMENT.replace("cluster:", "renamed:").replace(SLOW, "another-token-00001"))
    clock.now += CHECK_SECONDS
    found = registry.find(CLUSTER.encode())
    assert found is not None
    assert found.name == "renamed"
    assert registry.find(SLOW.encode()) is None
    assert not registry.is_stale

    # and when it disappears, only the fixed token is left
    file.unlink()
    clock.now += CHECK_SECONDS
    assert registry.find(CLUSTER.encode()) is None
    assert registry.find(TOKEN.encode()) is not None


def test_document_may_be_json() -> None:
    entry = {"routes": ["okta"], "tokens": [CLUSTER]}
    table = tokens.parse(msgspec.json.encode({"sources": {"okta": entry}}))

    found = table.find(CLUSTER.encode())
    assert found is not None
    assert found.routes == {"okta"}


VALID: dict[str, Any] = {"routes": ["okta"], "tokens": [CLUSTER]}
INVALID: dict[str, tuple[Any, str]] = {
    "no sources": ({}, "sources"),
    "an unknown field": ({"a": {**VALID, "rout": 1}}, "rout"),
    "no routes": ({"a": {"tokens": [CLUSTER]}}, "routes"),
    "empty routes": ({"a": {**VALID, "routes": []}}, "a: unknown routes: none given"),
    "an unknown route": ({"a": {**VALID, "routes": ["x"]}}, "a: unknown routes: x.*kubernetes"),
    "no token": ({"a": {"routes": ["okta"]}}, "a: there is no token"),
    "a short token": ({"a": {**VALID, "tokens": ["short"]}}, "a: a token must have at least 16"),
    "a short hash": ({"a": {**VALID, "tokens_sha256": ["00"]}}, "a: tokens_sha256"),
    "no hexadecimal hash": ({"a": {**VALID, "tokens_sha256": ["z" * 64]}}, "a: tokens_sha256"),
    "the same token twice": ({"a": VALID, "b": VALID}, "b: the same token belongs to a"),
    "a rate without a period": ({"a": {**VALID, "rate": "100"}}, "a: rate must be like"),
    "a rate of zero": ({"a": {**VALID, "rate": "0/second"}}, "a: rate must be"),
    "no size": ({"a": {**VALID, "max_request_bytes": 0}}, "a: max_request_bytes"),
    "no log source": ({"a": {**VALID, "routes": ["ndjson"]}}, "a: logsource is required"),
    "a log source without effect": ({"a": {**VALID, "logsource": "any"}}, "a: logsource has no"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_document_is_an_error(name: str) -> None:
    sources, reason = INVALID[name]
    document = {"sources": sources} if sources else {}

    with pytest.raises(TokenError, match=reason) as error:
        tokens.parse(msgspec.json.encode(document))
    assert CLUSTER not in str(error.value)


@pytest.mark.parametrize("document", [b"{", b"a: b: c", f"- {CLUSTER}: [".encode(), b"\xff"])
def test_error_of_a_document_does_not_quote_it(document: bytes) -> None:
    with pytest.raises(TokenError) as error:
        tokens.parse(document)
    assert CLUSTER not in str(error.value)


def test_a_token_in_the_place_of_a_field_is_not_quoted() -> None:
    with pytest.raises(TokenError, match="an unknown field") as error:
        tokens.parse(f"sources: {{kubernetes: {{{CLUSTER}: 1}}}}".encode())
    assert CLUSTER not in str(error.value)


def test_a_short_unknown_field_is_named() -> None:
    with pytest.raises(TokenError, match="unknown field `tokns`"):
        tokens.parse(b"sources: {kubernetes: {tokns: 1}}")


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 20)}]\n"
    for old, new in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"#" * (tokens.MAX_DOCUMENT_BYTES + 1), "more than 1048576 bytes"),
        (b"[" * 500_000, "nested deeper than 16 levels"),
        (b'{"a":' * 100_000, "nested deeper than 16 levels"),
        (b"- x\n" * 200_000, "more than 100000 values"),
        (BOMB.encode(), "aliases are not supported"),
    ],
    ids=["size", "lists", "objects", "values", "aliases"],
)
def test_a_document_that_would_exhaust_memory_is_refused(document: bytes, reason: str) -> None:
    with pytest.raises(TokenError, match=reason):
        tokens.parse(document)


@pytest.mark.parametrize("value", ["!!int ''", "!!bool x", "!!timestamp x", "!custom x"])
def test_tags_of_a_document_are_refused(value: str) -> None:
    with pytest.raises(TokenError, match="tags such as"):
        tokens.parse(f"sources: {{kubernetes: {value}}}".encode())


def test_registry_needs_a_token() -> None:
    with pytest.raises(TokenError, match="there is no token"):
        TokenRegistry(TokenTable({}))

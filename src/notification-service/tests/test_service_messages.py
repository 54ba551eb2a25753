"""The service stores valid findings, and dead-letters invalid messages with a reason."""

import json
from typing import Any

import httpx
import msgspec

from auditflow.contract import acceptance, finding_message
from auditflow.contract import finding as findings


def _count(api: httpx.Client) -> int:
    answer = api.get("/alerts", params={"limit": 1})
    return int(answer.json()["counts"]["total"]) if answer.status_code == 200 else -1


def _changed(raw: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(raw), **fields}).encode()


def _without(raw: bytes, field: str) -> bytes:
    document = json.loads(raw)
    del document[field]
    return json.dumps(document).encode()


def _event(raw: bytes, event: bytes) -> bytes:
    """The finding with another first event, byte by byte."""
    return _changed(raw, evidence={"events": [], "first_event": 0}).replace(
        b'"events": [], "first_event": 0',
        b'"events": [{"event_id": "e", "timestamp": "2026-01-31T00:00:00Z"}],'
        b' "first_event": ' + event,
    )


#: What is sent for a finding, and the reason that its dead letter gives; None: it is stored.
MESSAGES: dict[str, tuple[Any, str | None]] = {
    "empty": (lambda raw: b"", "the message is empty"),
    "malformed": (lambda raw: raw[:-5], "truncated"),
    "two documents": (lambda raw: raw + raw, "trailing characters"),
    "an array": (lambda raw: b"[" + raw + b"]", None),
    "an empty array": (lambda raw: b"[]", "the array has 0 elements"),
    "a truncated array": (lambda raw: b"[" + raw, "truncated"),
    "an array of too many": (lambda raw: b"[" + b",".join([raw[:1] + b"}"] * 1001) + b"]",
                             "the array has 1001 elements"),
    "a number": (lambda raw: b"7", "Expected `object`, got `int`"),
    "null": (lambda raw: b"null", "Expected `object`, got `null`"),
    "a missing field": (lambda raw: _without(raw, "rule"), "missing required field `rule`"),
    "a wrong type": (lambda raw: _changed(raw, actor=7), "at `$.actor`"),
    "a wrong severity": (lambda raw: _changed(raw, severity="HIGH"), "at `$.severity`"),
    "no uuid": (lambda raw: _changed(raw, finding_id="f-1"), "Invalid UUID - at `$.finding_id`"),
    "count 0": (lambda raw: _changed(raw, count=0), "at `$.count`"),
    "a fraction": (lambda raw: _changed(raw, count=1.5), "at `$.count`"),
    "5,000 digits": (lambda raw: raw.replace(b'"count":3', b'"count":' + b"9" * 5000), "$.count"),
    "NaN": (lambda raw: raw.replace(b'"count":3', b'"count":NaN'), "invalid character"),
    "5,000 digits inside": (lambda raw: _event(raw, b"9" * 5000), "out of range"),
    "NaN inside": (lambda raw: _event(raw, b'{"x": NaN}'), "malformed"),
    "an entity of numbers": (lambda raw: _changed(raw, entity={"n": 1}), "at `$.entity"),
    "NUL": (lambda raw: _changed(raw, actor="a\0b"), "NUL character"),
    "NUL inside": (lambda raw: _event(raw, b'{"x": "\\u0000"}'), "NUL character"),
    "an escaped backslash": (lambda raw: _event(raw, b'{"x": "\\\\u0000"}'), None),
    "invalid UTF-8": (lambda raw: raw.replace(b"sshd", b"ss\xff\xfe"), "not UTF-8"),
    "a lone surrogate": (lambda raw: raw.replace(b"sshd", b"\\ud800x"), "surrogate"),
    "a lone surrogate inside": (lambda raw: _event(raw, b'{"x": "\\udc00x"}'), "surrogate"),
    "naive time": (lambda raw: _changed(raw, last_seen="2026-01-31T08:00:00"), "$.last_seen"),
    "garbage time": (lambda raw: _changed(raw, last_seen="soon"), "$.last_seen"),
    "future": (lambda raw: _changed(raw, last_seen="2999-01-01T00:00:00Z"), "a day ahead"),
    "year 1": (lambda raw: _changed(raw, first_seen="0001-01-01T00:00:00+14:00"), "before 1970"),
    "backwards": (lambda raw: _changed(raw, last_seen="2020-01-01T00:00:00Z"), "after last_seen"),
    "long ago": (
        lambda raw: _changed(raw, first_seen="1971-01-01T00:00:00Z",
                             bucket_start="1971-01-01T00:00:00Z"), None,
    ),
    "no evidence": (lambda raw: _changed(raw, evidence={"events": []}), "$.evidence.events"),
    "deep": (lambda raw: _event(raw, b"[" * 5000 + b"]" * 5000), "nested deeper than"),
    "deep, unclosed": (lambda raw: _event(raw, b"[" * 100_000), "nested deeper than"),
    "over 1 MiB": (lambda raw: _changed(raw, description="x" * 2**20), "more than the 1048576"),
    "nearly 1 MiB": (lambda raw: _changed(raw, actor="x" * (2**20 - 2000)), None),
    "a long host name for an address": (lambda raw: _changed(raw, client_ip="h" * 5000), None),
    "an odd address": (lambda raw: _changed(raw, client_ip="::ffff:999.1.1.1%eth0"), None),
    "emoji and quotes": (lambda raw: _changed(raw, actor="🙂'\"\\; DROP TABLE alerts; --"), None),
    "unknown fields": (lambda raw: _changed(raw, later={"version": 2}), None),
    "no entity": (lambda raw: _changed(raw, entity={}), None),
    "empty texts": (lambda raw: _changed(raw, description="", environment=""), None),
    "1,000 fields of an entity": (
        lambda raw: _changed(raw, entity={f"field-{n}": "v" * 600 for n in range(1000)}), None,
    ),
}  # fmt: skip


def test_invalid_messages_are_dead_lettered_and_all_others_are_stored(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given good findings among messages of all odd kinds
    sent: dict[bytes, str] = {}
    for number, (kind, (make, _)) in enumerate(MESSAGES.items()):
        body = make(findings.encode(make_finding(user=f"odd-{number}", count=3)))
        sent[body] = kind
        broker.send(body, make_finding(user=f"good-{number}"))

    # when the service has seen them all
    stored = "SELECT count(*) FROM findings"
    expected = len(MESSAGES) + sum(reason is None for _, reason in MESSAGES.values())
    eventually(lambda: query(stored) == [(expected,)])

    # then all others are dead-lettered with a reason, and nothing is redelivered
    dead = {}
    for body, headers in broker.dead_letters():
        assert headers["x-auditflow-kind"] == "contract"
        dead[sent[body]] = headers["x-auditflow-reason"]
    reasons = {kind: reason for kind, (_, reason) in MESSAGES.items() if reason is not None}
    assert dead.keys() == reasons.keys()
    for kind, reason in reasons.items():
        assert reason in dead[kind], kind
    assert broker.waiting() == 0
    # and the lists and details of what was stored can be read
    listed = api.get("/alerts", params={"limit": 200})
    assert len(listed.json()["alerts"]) == expected
    assert len(listed.content) < 200_000
    for alert in listed.json()["alerts"]:
        assert api.get(f"/alerts/{alert['alert_id']}").status_code == 200
    metrics = api.get("/metrics").text
    assert f'auditflow_findings_stored_total{{outcome="new"}} {expected}.0' in metrics
    assert (
        f'auditflow_dead_letters_total{{kind="contract",queue="audit_alerts"}} {len(reasons)}.0'
        in metrics
    )


def test_a_different_finding_with_the_same_identifier_is_dead_lettered(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any
) -> None:
    original = make_finding()
    broker.send(original)
    eventually(lambda: _count(api) == 1)

    broker.send(
        msgspec.structs.replace(original, entity={"user_id": "mallory"}), make_finding(user="bob")
    )

    eventually(lambda: _count(api) == 2)
    ((_, headers),) = eventually(broker.dead_letters)
    assert headers["x-auditflow-reason"].endswith("belongs to another rule or entity")


def test_a_poison_message_does_not_affect_other_messages(
    broker: Any, api: httpx.Client, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given a database that refuses one user, as a defect of the service would cause
    query("ALTER TABLE alerts ADD CONSTRAINT no_poison CHECK (actor <> 'poison')")

    broker.send(*(make_finding(user=user) for user in ("alice", "poison", "bob")))

    eventually(lambda: _count(api) == 2)
    ((body, headers),) = eventually(broker.dead_letters)
    assert json.loads(body)["actor"] == "poison"
    assert headers["x-auditflow-kind"] == "poison"


def test_findings_of_a_message_are_refused_one_by_one(
    broker: Any, api: httpx.Client, service: Any, make_finding: Any, eventually: Any, query: Any
) -> None:
    # given a database that refuses one user, as a defect of the service would cause
    query("ALTER TABLE alerts ADD CONSTRAINT no_poison CHECK (actor <> 'poison')")
    users = ("alice", "bob", "carol", "poison", "dave")
    encoded = {user: findings.encode(make_finding(user=user)) for user in users}
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers: dict[str, str | int] = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        acceptance.HEADER: 1,
    }
    # and a message that also has findings and elements that violate the contract
    invalid = _changed(encoded["bob"], count=0)
    message = (
        b"[7,%s]"
        % finding_message.encode(
            [
                (encoded["alice"], headers),
                (invalid, {}),
                *((encoded[user], {}) for user in users[2:]),
            ]
        )[1:-1]
    )

    broker.send(message)

    # then all others are stored
    eventually(lambda: _count(api) == 3)
    listed = {alert["actor"] for alert in api.get("/alerts").json()["alerts"]}
    assert listed == {"alice", "carol", "dave"}
    # and each of the three is a dead letter of its own, which has no other finding
    dead: dict[bytes, dict[str, Any]] = {}
    eventually(lambda: dead.update(broker.dead_letters()) or len(dead) == 3)
    assert dead[b"7"]["x-auditflow-reason"].startswith("Expected `object`, got `int`")
    assert "at `$.count`" in dead[invalid]["x-auditflow-reason"]
    assert dead[encoded["poison"]]["x-auditflow-kind"] == "poison"
    # and each finding has its own trace and time of acceptance
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    traces = {
        line["alert_id"]: line["trace_id"] for line in lines if line["event"] == "finding stored"
    }
    (alice,) = (a for a in api.get("/alerts").json()["alerts"] if a["actor"] == "alice")
    assert [alert_id for alert_id, found in traces.items() if found == trace] == [alice["alert_id"]]
    assert "auditflow_event_to_alert_seconds_count 1.0" in api.get("/metrics").text

"""Messages that a source may send by mistake or malice, and what must become of each.

For the decoder's own tests, and for those that put every one of them on a real queue.
"""

import msgspec

GOOD = {"event_id": "e1", "timestamp": "2026-01-01T00:00:00Z", "event_type": "user_login"}


def body(**changes: object) -> bytes:
    return msgspec.json.encode({**GOOD, **changes})


def raw(more: str) -> bytes:
    """A good event with something that only bytes can say."""
    return body()[:-1] + b"," + more.encode() + b"}"


#: Not an event: the bytes, and what the refusal must say (a regular expression).
REFUSED = {
    "nothing": (b"", "empty"),
    "not JSON": (b"hello", "malformed"),
    "half of it": (body()[:-5], "truncated"),
    "an array in an object's place": (b"5", "Expected `object`"),
    "null": (b"null", "Expected `object`"),
    "no event_id": (b'{"timestamp":"2026-01-01T00:00:00Z","event_type":"a"}', "`event_id`"),
    "an empty event_id": (body(event_id=""), "$.event_id"),
    "a number for event_id": (body(event_id=5), "$.event_id"),
    "an event_id without end": (body(event_id="x" * 257), "$.event_id"),
    "no event_type": (b'{"event_id":"e","timestamp":"2026-01-01T00:00:00Z"}', "`event_type`"),
    "no timestamp": (b'{"event_id":"e","event_type":"a"}', "`timestamp`"),
    "a naive timestamp": (body(timestamp="2026-01-01T00:00:00"), "timezone"),
    "a garbage timestamp": (body(timestamp="yesterday"), "$.timestamp"),
    "a timestamp before 1970": (body(timestamp="0001-01-01T00:00:00+10:00"), "1970"),
    "a number for timestamp": (body(timestamp=1767225600), "$.timestamp"),
    "a severity of its own": (body(severity="HUGE"), "$.severity"),
    "a list for user_id": (body(user_id=["a"]), "$.user_id"),
    "text for details": (body(details="x"), "$.details"),
    "a string of a mebibyte": (body(resource="x" * 2**20), "bytes"),
    "a NUL": (body(user_id="a\x00b"), "NUL"),
    "a NUL deep in the record": (body(record={"a": ["\x00"]}), "NUL"),
    "an integer of 5,000 digits": (raw('"details":{"n":' + "9" * 5000 + "}"), "range"),
    "NaN": (raw('"details":{"n":NaN}'), "malformed"),
    "infinity": (raw('"details":{"n":1e999}'), "range"),
    "invalid UTF-8": (body(user_id="?").replace(b"?", b"\xff"), "UTF-8"),
    "invalid UTF-8 in the record": (body(record="?").replace(b"?", b"\xff"), "UTF-8"),
    "invalid UTF-8 in an unknown field": (body(colour="?").replace(b"?", b"\xff"), "UTF-8"),
    "infinity in the record": (raw('"record":{"n":1e999}'), "range"),
    "a lone surrogate": (raw('"user_id":"\\ud800"'), "malformed|truncated"),
    "a lone surrogate in the record": (raw('"record":{"a":"\\ud800"}'), "malformed|truncated"),
    "nesting of 33": (body(details={"a": msgspec.Raw(b"[" * 31 + b"]" * 31)}), "32 levels"),
    "nesting without end": (raw('"record":' + "[" * 50_000 + "]" * 50_000), "32 levels"),
}

#: Unusual, and an event all the same.
ACCEPTED = {
    "only what is required": body(),
    "an id that is no UUID": body(event_id="order 66 / ü"),
    "an offset": body(timestamp="2026-01-01T02:00:00.123456789+02:00"),
    "the far future": body(timestamp="2099-01-01T00:00:00Z"),
    "the past": body(timestamp="1999-01-01T00:00:00Z"),
    "a host name for an address": body(client_ip="build-7.example"),
    "garbage for an address": body(client_ip="999.1.2"),
    "unknown fields": body(colour="blue"),
    "nulls": body(user_id=None, client_ip=None, details=None, server_hostname=None),
    "an escaped backslash before u0000": raw('"user_id":"\\\\u0000"'),
    "nesting of 32": body(details={"a": msgspec.Raw(b"[" * 30 + b"]" * 30)}),
    "nesting of 32 and more brackets": body(
        details={"a": msgspec.Raw(b"[" * 30 + b"]" * 30), "b": [], "c": [[]]}
    ),
    "brackets after an escaped quote": body(user_id='"' + "[" * 40 + "]" * 40),
    "the first second of 1970": body(timestamp="1970-01-01T00:00:00Z"),
    "brackets in strings": body(user_id="[{" * 100),
    "a big integer": raw('"details":{"n":' + "9" * 50 + "}"),
}

"""The pure functions of presentation/ and query.py."""

import datetime as dt
import json
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from auditflow.contract.alert import EventRow, FindingView
from auditflow.contract.event import Severity
from event_audit_dashboard import query as queries
from event_audit_dashboard.presentation import attack, badges, recurrence, text, timeline, times

NOW = dt.datetime(2026, 5, 4, 9, 8, 7, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-600, "in 10 min"),
        (-3, "just now"),
        (0, "just now"),
        (4, "just now"),
        (5, "5 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86399, "23 h ago"),
        (86400, "1 d ago"),
        (29 * 86400, "29 d ago"),
        (30 * 86400, "2026-04-04"),
    ],
)
def test_ago(seconds: int, words: str) -> None:
    assert times.ago(NOW - dt.timedelta(seconds=seconds), NOW) == words


@given(
    st.floats(-100, 35 * 86400, allow_nan=False) | st.integers(-10, 100_000).map(float),
    st.floats(0, 1, exclude_max=True),
)
def test_ago_does_not_change_before_its_change(age: float, share: float) -> None:
    timestamp = NOW - dt.timedelta(seconds=age)
    change = times.change_of_ago(timestamp, NOW)
    assert change > NOW
    before = min(NOW + (change - NOW) * share, change - dt.timedelta(microseconds=1))
    assert times.ago(timestamp, before) == times.ago(timestamp, NOW)
    if 5 <= age < 30 * 86400:
        assert times.ago(timestamp, change) != times.ago(timestamp, NOW)


def test_timestamps_are_formatted_in_utc() -> None:
    timestamp = dt.datetime.fromisoformat("2026-05-04T01:02:03.456+05:30")
    assert times.exact(timestamp) == "2026-05-03 19:32:03.456 UTC"
    assert times.machine(timestamp) == "2026-05-03T19:32:03.456Z"
    berlin = ZoneInfo("Europe/Berlin")
    assert times.local(timestamp, berlin) == "2026-05-03 21:32:03 CEST"
    assert times.local_clock(timestamp, berlin) == "21:32:03"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "under 1 s"), (4, "4 s"), (125, "2 min 5 s"), (273_600, "3 d 4 h"), (3600, "1 h")],
)
def test_span(seconds: float, words: str) -> None:
    assert times.span(NOW, NOW + dt.timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain", "plain"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\nb\r\n", "a↵ b↵ "),
        ("\x00\x1b", "⟨U+0000⟩⟨U+001B⟩"),
        ("👩\u200d💻 ☕\ufe0f", "👩\u200d💻 ☕\ufe0f"),
        ("漢字 é", "漢字 é"),
        ("\ud800", "⟨U+D800⟩"),
        (5, "5"),
        (None, "null"),
        (["a", "\u200b"], '["a","⟨U+200B⟩"]'),
    ],
)
def test_hidden_characters_become_visible(given_text: Any, shown: str) -> None:
    assert text.visible(given_text) == shown


def test_shorten() -> None:
    assert text.shorten("a" * 10, 10) == "a" * 10
    assert text.shorten("a" * 11, 10) == "a" * 9 + "…"


def test_json_stays_json_when_it_is_made_visible() -> None:
    value = {"a": "x\u202ey", "b": "\U000e0041", "c": [1, None, "é"], "d": "\x01"}
    shown = text.pretty_json(json.dumps(value, ensure_ascii=False).encode())
    assert "\u202e" not in shown
    assert "\\u202e" in shown
    assert json.loads(shown) == value


def test_tags() -> None:
    assert attack.tag("attack.t1110").url == "https://attack.mitre.org/techniques/T1110/"
    assert attack.tag("attack.T1110.001") == attack.Tag(
        "T1110.001", "https://attack.mitre.org/techniques/T1110/001/"
    )
    assert attack.tag("attack.lateral_movement").url == "https://attack.mitre.org/tactics/TA0008/"
    assert attack.tag("attack.g0016").url == "https://attack.mitre.org/groups/G0016/"
    for other in ("cve.2021.44228", "attack.nonsense", "attack.t1110/../..", "impact", "<b>"):
        assert attack.tag(other).url is None


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//host/x",
        "https://",
        "ftp://h/",
        "http://[",
        None,
        "",
        "java\nscript:alert(1)",
    ],
)
def test_unsafe_addresses_are_not_links(address: str | None) -> None:
    assert badges.web_link(address) is None


def finding(first: float, last: float, count: int) -> FindingView:
    return FindingView(
        finding_id=uuid.uuid4(),
        severity=Severity.WARNING,
        count=count,
        bucket_start=NOW,
        description="",
        rule_revision="",
        first_seen=NOW + dt.timedelta(seconds=first),
        last_seen=NOW + dt.timedelta(seconds=last),
    )


def event(seconds: float) -> EventRow:
    return EventRow(timestamp=NOW + dt.timedelta(seconds=seconds), event_id=f"e{seconds}")


def test_the_timeline_has_a_mark_for_each_event_and_a_bar_for_each_finding() -> None:
    drawn = timeline.draw([finding(90, 100, 5), finding(0, 10, 10)], [event(0), event(100)])
    assert drawn is not None
    assert [mark.x for mark in drawn.marks] == [timeline.STRIPE, timeline.WIDTH - timeline.STRIPE]
    assert len(drawn.bars) == 2
    assert all(0 < bar.x < bar.x + bar.width < timeline.WIDTH for bar in drawn.bars)
    assert "2 events" in drawn.label


def test_events_at_the_same_time_are_stacked_up_to_a_limit() -> None:
    drawn = timeline.draw([], [event(0), *(event(50) for _ in range(20)), event(100)])
    assert drawn is not None
    levels = [mark.level for mark in drawn.marks]
    assert levels == [0, *range(timeline.MAX_STACK), 0]


def test_no_timeline_without_a_time_span() -> None:
    assert timeline.draw([], []) is None
    assert timeline.draw([finding(0, 0.5, 3)], [event(0)]) is None


words = st.text(max_size=250)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *queries.TEXTS,
                    "status",
                    "severity",
                    "range",
                    "since",
                    "until",
                    "cursor",
                    "trail",
                    "x",
                ]
            ),
            st.one_of(
                words,
                st.sampled_from(
                    [
                        "open",
                        "OPEN,resolved",
                        "critical,info",
                        "1h",
                        "2026-01-01T00:00:00Z",
                        "2026-01-01T00:00:00",
                        "open,acknowledged,resolved",
                    ]
                ),
            ),
        )
    )
)
def test_every_url_has_a_stable_canonical_form(pairs: list[tuple[str, str]]) -> None:
    query = queries.parse(MultiDict(pairs)).query
    again = MultiDict(query.pairs())
    parsed = queries.parse(again)
    assert parsed.problems == ()
    assert parsed.query == query
    assert queries.is_canonical(again, parsed.query)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=WEEKLY;BYDAY=SU", "every week on Sunday"),
        ("FREQ=WEEKLY;BYDAY=MO,we;BYHOUR=2", "every week on Monday, Wednesday at 02:00"),
        ("FREQ=DAILY;BYHOUR=22;BYMINUTE=30;INTERVAL=1", "every day at 22:30"),
        ("FREQ=WEEKLY", "every week"),
        ("FREQ=MONTHLY;BYMONTHDAY=1", "every month on day 1"),
        ("FREQ=MONTHLY;BYDAY=2TU", None),
        ("FREQ=WEEKLY;BYDAY=SU;INTERVAL=2", None),
        ("FREQ=DAILY;BYHOUR=1,2", None),
        ("FREQ=DAILY;BYMINUTE=5", None),
        ("FREQ=DAILY;COUNT=3", None),
        ("", None),
    ],
)
def test_usual_recurrences_are_written_in_words(rule: str, words: str | None) -> None:
    assert recurrence.words(rule) == words

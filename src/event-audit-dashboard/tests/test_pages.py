"""The pages as a browser without JavaScript receives them."""

import datetime as dt
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import url_for

from event_audit_dashboard.rendering import templating
from event_audit_dashboard.rendering.urls import cached_url_for, url_of_archived, urls_of_records


def rows(page: str) -> list[str]:
    return re.findall(r'<tr id="a-([^"]+)"', page)


def hrefs(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert found, f"no link {rel}"
    return found[1].replace("&amp;", "&")


def test_the_start_page_is_the_list_of_unresolved_alerts(analyst: Any) -> None:
    assert analyst.get("/").location == "/alerts?status=open%2Cacknowledged"


def test_filters_are_sent_to_the_api_and_stay_in_the_url(analyst: Any, many: Any) -> None:
    path = (
        "/alerts?q=burst&status=open,acknowledged&level=high,critical&severity=WARNING&actor=bob"
        "&host=web-01&ip=203.0.113.7&resource=/etc/passwd&rule=r1&environment=local&range=1h"
        "&assignee=nobody&active_again=true&sort=risk"
    )
    page = analyst.http.get(path, follow_redirects=True)
    assert page.status_code == 200
    sent = many.last_query
    since = dt.datetime.fromisoformat(sent.pop("since"))
    assert abs(dt.datetime.now(dt.UTC) - since - dt.timedelta(hours=1)) < dt.timedelta(seconds=5)
    assert sent == {
        "q": "burst",
        "status": "open,acknowledged",
        "level": "critical,high",
        "severity": "WARNING",
        "actor": "bob",
        "host": "web-01",
        "ip": "203.0.113.7",
        "resource": "/etc/passwd",
        "rule": "r1",
        "environment": "local",
        "assignee": "",
        "active_again": "true",
        "sort": "risk",
        "limit": "50",
    }
    assert 'value="1h" selected' in page.text
    assert 'value="risk" selected' in page.text


def test_a_url_is_redirected_to_its_canonical_form(analyst: Any, many: Any) -> None:
    moved = analyst.get("/alerts?q=&status=OPEN&status=&severity=&host=+a+&sort=activity")
    assert moved.status_code == 302
    assert moved.location == "/alerts?status=open&host=a"
    assert analyst.get(moved.location).status_code == 200


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("status=nonsense", "must be one or more of open, acknowledged, resolved"),
        ("level=open", "must be one or more of"),
        ("range=99y", "must be one of 15m"),
        ("since=yesterday", "must be a time with an offset"),
        ("since=2026-01-01T00:00:00", "must be a time with an offset"),
        ("sort=colour", "must be one of activity"),
        ("foo=bar", "is not a known filter"),
        ("host=a&host=b", "is given more than once"),
        ("q=" + "x" * 201, "is longer than 200 characters"),
        ("q=a%00b", "cannot be displayed"),
        ("active_again=maybe", "must be one of true, false"),
        ("cursor=" + "x" * 600, "start again from the first page"),
    ],
)
def test_an_invalid_filter_is_reported(analyst: Any, many: Any, query: str, reason: str) -> None:
    page = analyst.get(f"/alerts?{query}&actor=bob")
    assert page.status_code == 400
    assert "This filter is invalid" in page.text
    assert reason in page.text
    assert rows(page.text) == []
    assert "bob" in page.text


def test_paging_in_both_directions_shows_every_alert_once(analyst: Any, many: Any) -> None:
    seen: list[str] = []
    visited = []
    path = "/alerts?range=30d"
    while True:
        page = analyst.get(path)
        assert page.status_code == 200
        visited.append(rows(page.text))
        seen += visited[-1]
        if 'rel="next"' not in page.text:
            break
        path = hrefs(page.text, "next")
    assert len(seen) == len(set(seen)) == 120
    assert [len(page_rows) for page_rows in visited] == [50, 50, 20]
    for expected in reversed(visited[:-1]):
        path = hrefs(page.text, "prev")
        page = analyst.get(path)
        assert rows(page.text) == expected
    assert urlsplit(path).query == "range=30d"


def test_later_pages_keep_the_start_of_the_time_range(analyst: Any, many: Any) -> None:
    older = hrefs(analyst.get("/alerts?range=30d").text, "next")
    given = parse_qs(urlsplit(older).query)["since"][0]
    analyst.get(older)
    assert many.last_query["since"] == given


def test_facets_have_counts_over_the_filter_and_toggle_a_value(analyst: Any, many: Any) -> None:
    analyst.get("/alerts?level=critical")
    page = analyst.get("/alerts/facets?level=critical").text
    critical = [item for item in many.alerts if item["level"] == "critical"]
    assert f"<strong>{len(critical)}</strong>" in page
    opened = sum(item["status"] == "open" for item in critical)
    assert re.search(
        rf'href="/alerts\?status=open&amp;level=critical"><bdi>Open</bdi>'
        rf'<span class="n">{opened}</span>',
        page,
    )
    assert re.search(r'href="/alerts" aria-current="true"><bdi>Critical', page)
    # The titles of rules come from the rows that were shown.
    assert critical[0]["title"] in page


def test_a_facet_of_a_name_with_an_asterisk_selects_only_this_name(analyst: Any, many: Any) -> None:
    for item in many.alerts[:40]:
        item["actor"] = "svc-*"

    page = analyst.get("/alerts/facets").text

    assert 'href="/alerts?actor=svc-%5C%2A"><bdi>svc-*</bdi>' in page
    selected = analyst.get("/alerts/facets?actor=svc-%5C%2A").text
    assert 'href="/alerts" aria-current="true"><bdi>svc-*</bdi>' in selected


def test_facets_show_users_and_techniques_and_mark_estimates(analyst: Any, many: Any) -> None:
    exact = analyst.get("/alerts/facets").text
    actor = many.alerts[0]["actor"]
    assert f'href="/alerts?actor={quote(actor)}"><bdi>{actor}</bdi><span class="n">' in exact
    assert 'href="/alerts?technique=T1110"><bdi>T1110</bdi>' in exact
    assert "estimate" not in exact
    many.sampled = 5000
    # A filter that was not used before, because pages share facets for some seconds.
    page = analyst.get("/alerts/facets?technique=T1110").text
    assert page.count("(estimate)") == 1
    assert "random sample of 5,000 of these alerts" in page
    assert f'<bdi>{actor}</bdi><span class="n">≈' in page
    path, parameters, _ = many.requests[-1]
    assert (path, parameters) == ("/api/v1/alerts/facets", {"technique": "T1110"})


def test_an_empty_list_and_an_empty_filter_result_differ(analyst: Any, api: Any) -> None:
    assert "No alerts yet" in analyst.get("/alerts").text
    filtered = analyst.get("/alerts?host=nowhere").text
    assert "No alert matches this filter" in filtered
    assert "clear all filters" in filtered


def test_an_invalid_cursor_is_reported(analyst: Any, many: Any) -> None:
    page = analyst.get("/alerts?cursor=!!!")
    assert page.status_code == 400
    assert "Cursor: not one of &lt;ours&gt;" in page.text


def test_the_alert_page_explains_the_alert_and_links_back_to_the_list(
    analyst: Any, many: Any
) -> None:
    alert = many.alerts[8]
    alert["previous_alert_id"] = many.alerts[9]["alert_id"]
    page = analyst.get(
        f"/alerts/{alert['alert_id']}",
        headers={"Referer": "http://localhost/alerts?status=open&host=web-01"},
    ).text
    assert 'href="/alerts?status=open&amp;host=web-01"' in page
    assert f"/alerts/{alert['previous_alert_id']}" in page
    assert "https://attack.mitre.org/techniques/T1098/" in page
    assert "https://attack.mitre.org/tactics/TA0003/" in page
    assert 'href="https://runbooks.example.org/' in page
    assert "a3f9c1e" in page
    assert page.index('id="why"') < page.index('id="events"') < page.index('id="facts"')
    assert page.count('class="mark"') > 3
    assert page.count("<tr id=") == min(alert["count"], 25)


def test_another_site_is_not_a_link_back(analyst: Any, many: Any) -> None:
    page = analyst.get(
        f"/alerts/{many.alerts[8]['alert_id']}",
        headers={"Referer": "https://evil.example/alerts?status=open"},
    ).text
    assert "evil.example" not in page


def test_the_copy_of_a_large_record_is_complete(analyst: Any, many: Any) -> None:
    many.record_characters = 250_000
    alert_id = many.alerts[3]["alert_id"]
    page = analyst.get(f"/alerts/{alert_id}/events/{alert_id[-6:]}/0")
    assert "characters are not shown" in page.text
    copied = re.search(r'data-copy="([^"]+)"', page.text)
    assert copied
    record = analyst.get(copied[1])
    assert record.mimetype == "application/json"
    assert len(record.json["large"]) == 250_000


def test_an_alert_of_a_hunt_is_marked(analyst: Any, many: Any) -> None:
    many.alerts[5]["retro"] = True
    assert "A hunt in archived events" in analyst.get(
        f"/alerts/{many.alerts[5]['alert_id']}"
    ).text  # fmt: skip
    assert "A hunt in archived" not in analyst.get(f"/alerts/{many.alerts[6]['alert_id']}").text
    rows = re.findall(r"<tr id=.*?</tr>", analyst.get("/alerts").text, re.DOTALL)
    assert [many.alerts[5]["alert_id"] in row for row in rows if "From a hunt" in row] == [True]


def test_no_template_is_compiled_during_a_request(dashboard: Any) -> None:
    templating.compile_all(dashboard)
    compiled = {name for _, name in dashboard.jinja_env.cache.keys()}  # noqa: SIM118 - no dict
    assert {"alerts.html", "_row.html", "alert.html", "login.html"} <= compiled
    assert compiled == set(dashboard.jinja_env.list_templates(extensions=["html"]))


def test_a_clamped_timestamp_is_explained(analyst: Any, many: Any) -> None:
    assert "clamped" in analyst.get(f"/alerts/{many.alerts[6]['alert_id']}").text
    assert "clamped" not in analyst.get(f"/alerts/{many.alerts[5]['alert_id']}").text


def test_an_approximate_count_is_explained(analyst: Any, many: Any) -> None:
    page = analyst.get(f"/alerts/{many.alerts[5]['alert_id']}").text
    assert "lower bound" in page


@pytest.mark.parametrize(
    "alert_id", ["00000000-0000-0000-0000-000000000000", "..", "a%2Fb", "x" * 99]
)
def test_an_unknown_alert_is_404(analyst: Any, many: Any, alert_id: str) -> None:
    page = analyst.get(f"/alerts/{alert_id}")
    assert page.status_code == 404
    assert "ot found</h1>" in page.text


def test_hostile_text_stays_text(analyst: Any, attacked: Any) -> None:
    ids = [item["alert_id"] for item in attacked.alerts]
    paths = ["/alerts", *(f"/alerts/{alert_id}" for alert_id in ids)]
    paths += [f"/alerts/{alert_id}/events/{alert_id[-6:]}/0" for alert_id in ids]
    for path in paths:
        page = analyst.get(path)
        assert page.status_code == 200
        for bad in (
            "<script>alert",
            "<img src=x",
            "<b>",
            "<i>",
            "\u202e",
            "\u200b",
            "\x00",
            'href="javascript',
        ):
            assert bad not in page.text, f"{bad!r} on {path}"
        assert ">49<" not in page.text
        scripts = re.findall(r"<script[^>]*>", page.text)
        assert all('src="/static/' in item and 'nonce="' in item for item in scripts)
    assert "⟨U+202E⟩" in analyst.get("/alerts").text


def test_long_text_is_shortened_in_the_list_and_complete_on_the_alert_page(
    analyst: Any, attacked: Any
) -> None:
    assert "A" * 1001 not in analyst.get("/alerts").text
    assert "A" * 10_000 in analyst.get(f"/alerts/{attacked.alerts[1]['alert_id']}").text


def test_an_unchanged_live_part_is_304(analyst: Any, many: Any) -> None:
    shown = analyst.get("/alerts?status=open").text
    version = re.search(r'data-etag="(\w+)"', shown)
    assert version
    tag = f'"{version[1]}"'
    again = analyst.get("/alerts/live?status=open", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    changed = analyst.get("/alerts/live?status=open", headers={"If-None-Match": '"another"'})
    assert changed.headers["ETag"] == tag
    assert rows(changed.text) == rows(shown)


def test_error_pages_have_the_layout_of_all_pages(analyst: Any) -> None:
    assert analyst.get("/nowhere").status_code == 404
    rejected = analyst.http.post("/alerts", data={"csrf_token": analyst.token("/alerts")})
    assert rejected.status_code == 405
    assert "GET" in rejected.headers["Allow"]
    for page in (analyst.get("/nowhere"), rejected):
        assert 'class="brand"' in page.text


def test_an_internal_error_reveals_no_details(make: Any, user: Any) -> None:
    app = make()
    app.add_url_rule("/bug", "bug", lambda: dict[str, str]()["secret detail"])
    analyst = user(app)
    analyst.sign_in()
    page = analyst.get("/bug")
    assert page.status_code == 500
    assert "Internal error" in page.text
    assert "secret detail" not in page.text


def test_a_url_that_is_built_once_depends_on_the_prefix_of_the_application(dashboard: Any) -> None:
    for base, expected in (("http://a/", "/alerts"), ("http://a/p", "/p/alerts")) * 2:
        with dashboard.test_request_context("/", base_url=base):
            assert cached_url_for("alerts.listing") == url_for("alerts.listing") == expected


@pytest.mark.parametrize(
    "event_id", ["e-1", "a b/c?d#e%2F", "ü€\u202e", "..", "a/../b", "&<>\"'", "a;b=c,d:e@f+g", "%"]
)
@pytest.mark.parametrize("root", ["", "/audit"])
def test_urls_of_events_are_those_of_flask(make: Any, event_id: str, root: str) -> None:
    alert_id = "00000070-0000-0000-0000-000000000000"
    app = make(with_archive=True)
    with app.test_request_context(base_url=f"http://localhost{root}"):
        record = url_for("alert.event", alert_id=alert_id, event_id=event_id)
        assert urls_of_records(alert_id)(event_id) == record
        assert url_of_archived(event_id) == url_for("events.detail", id=event_id)

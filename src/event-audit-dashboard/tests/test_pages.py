"""The pages as a browser without JavaScript receives them."""

import datetime as dt
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


def rows(page: str) -> list[str]:
    return re.findall(r'id="link-([^"]+)"', page)


def hrefs(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert found, f"no link {rel}"
    return found[1].replace("&amp;", "&")


def test_the_root_redirects_to_the_list(analyst: Any) -> None:
    assert analyst.get("/").location == "/alerts"


def test_filters_are_sent_to_the_api_and_stay_in_the_url(analyst: Any, many: Any) -> None:
    path = (
        "/alerts?q=burst&status=open,acknowledged&severity=WARNING&actor=bob&host=web-01"
        "&ip=203.0.113.7&resource=/etc/passwd&rule=r1&environment=local&range=1h"
    )
    page = analyst.http.get(path, follow_redirects=True)
    assert page.status_code == 200
    sent = many.last_query
    since = dt.datetime.fromisoformat(sent.pop("since"))
    assert abs(dt.datetime.now(dt.UTC) - since - dt.timedelta(hours=1)) < dt.timedelta(seconds=5)
    assert sent == {
        "q": "burst",
        "status": "open,acknowledged",
        "severity": "WARNING",
        "actor": "bob",
        "host": "web-01",
        "ip": "203.0.113.7",
        "resource": "/etc/passwd",
        "rule": "r1",
        "environment": "local",
        "limit": "50",
    }
    assert 'value="open,acknowledged" selected' in page.text
    assert 'value="1h" selected' in page.text


def test_a_url_is_redirected_to_its_canonical_form(analyst: Any, many: Any) -> None:
    moved = analyst.get(
        "/alerts?q=&status=open&status=nonsense&severity=&range=99y&foo=bar&host=+a+"
    )
    assert moved.status_code == 302
    assert moved.location == "/alerts?status=open&host=a"
    assert analyst.get(moved.location).status_code == 200


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


def test_counts_of_a_filter_ignore_the_filter_itself(analyst: Any, many: Any) -> None:
    page = analyst.get("/alerts?severity=CRITICAL").text
    counted = {
        name: int(number)
        for name, number in re.findall(r'id="tile-(\w+)"[^>]*>\s*<strong>([\d,]+)', page)
    }
    for name in ("critical", "warning", "info"):
        assert counted[name] == sum(item["severity"] == name.upper() for item in many.alerts)
    critical = [item for item in many.alerts if item["severity"] == "CRITICAL"]
    assert counted["open"] == sum(item["status"] == "open" for item in critical)


def test_an_empty_list_and_an_empty_filter_result_differ(analyst: Any, api: Any) -> None:
    assert "No alerts yet" in analyst.get("/alerts").text
    filtered = analyst.get("/alerts?host=nowhere").text
    assert "No alert matches this filter" in filtered
    assert "clear all filters" in filtered


def test_an_invalid_cursor_is_reported(analyst: Any, many: Any) -> None:
    page = analyst.get("/alerts?cursor=!!!")
    assert page.status_code == 400
    assert "cursor: not one of &lt;ours&gt;" in page.text


def test_the_alert_page_shows_the_reason_and_links_back_to_the_filter(
    analyst: Any, many: Any, now: Any
) -> None:
    alert = many.alerts[7]
    alert["previous_alert_id"] = many.alerts[8]["alert_id"]
    page = analyst.get(f"/alerts/{alert['alert_id']}?status=open&host=web-01").text
    assert "/alerts?status=open&amp;host=web-01" in page
    assert f"/alerts/{alert['previous_alert_id']}?status=open" in page
    assert "https://attack.mitre.org/techniques/T1110/001/" in page
    assert "https://attack.mitre.org/tactics/TA0006/" in page
    assert 'href="https://runbooks.example.org/' in page
    assert "a3f9c1e" in page
    assert "req-0000" in page
    assert page.count('<details class="card finding"') == alert["finding_count"]
    assert "<rect" in page
    assert "&#34;event_type&#34;: &#34;user_login&#34;" in page


def test_an_approximate_count_is_explained(analyst: Any, many: Any) -> None:
    page = analyst.get(f"/alerts/{many.alerts[5]['alert_id']}").text
    assert "lower bound" in page


@pytest.mark.parametrize(
    "alert_id", ["00000000-0000-0000-0000-000000000000", "..", "a%2Fb", "x" * 99]
)
def test_an_unknown_alert_is_404(analyst: Any, many: Any, alert_id: str) -> None:
    page = analyst.get(f"/alerts/{alert_id}")
    assert page.status_code == 404
    assert "not found</h1>" in page.text


def test_hostile_text_stays_text(analyst: Any, attacked: Any) -> None:
    paths = ["/alerts", *(f"/alerts/{item['alert_id']}" for item in attacked.alerts)]
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
        assert all('src="/static/' in item for item in scripts)
    assert "⟨U+202E⟩" in analyst.get("/alerts").text


def test_long_text_is_shortened_in_the_list_and_complete_on_the_alert_page(
    analyst: Any, attacked: Any
) -> None:
    assert "A" * 1001 not in analyst.get("/alerts").text
    assert "A" * 10_000 in analyst.get(f"/alerts/{attacked.alerts[1]['alert_id']}").text


def test_an_unchanged_live_part_is_304(analyst: Any, many: Any) -> None:
    first = analyst.get("/alerts/live?status=open")
    assert first.text.lstrip().startswith('<div id="live"')
    tag = first.headers["ETag"]
    again = analyst.get("/alerts/live?status=open", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    many.alerts[0]["status"] = "open"
    many.alerts[0]["count"] += 1
    assert (
        analyst.get("/alerts/live?status=open", headers={"If-None-Match": tag}).status_code == 200
    )


def test_error_pages_have_the_layout_of_all_pages(analyst: Any) -> None:
    assert analyst.get("/nowhere").status_code == 404
    rejected = analyst.http.post("/alerts", data={"csrf_token": analyst.token("/alerts")})
    assert rejected.status_code == 405
    assert "GET" in rejected.headers["Allow"]
    for page in (analyst.get("/nowhere"), rejected):
        assert 'class="brand"' in page.text


def test_an_internal_error_reveals_no_details(make: Any, person: Any) -> None:
    app = make()
    app.add_url_rule("/bug", "bug", lambda: dict[str, str]()["secret detail"])
    analyst = person(app)
    analyst.sign_in()
    page = analyst.get("/bug")
    assert page.status_code == 500
    assert "Internal error" in page.text
    assert "secret detail" not in page.text

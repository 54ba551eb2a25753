"""The last data of a page during an outage of the API."""

import datetime as dt
from typing import Any

import pytest

from auditflow.circuit import FAILURES
from event_audit_dashboard.rendering.last_pages import MAX_BYTES, MAX_SESSIONS, LastPage, LastPages


@pytest.mark.parametrize("headers", [{}, {"Accept-Encoding": "gzip"}], ids=["plain", "gzip"])
def test_an_outage_page_has_the_last_data(analyst: Any, many: Any, headers: Any) -> None:
    title = many.alerts[0]["title"]
    assert analyst.get("/alerts", headers=headers).status_code == 200
    assert analyst.get("/pipeline", headers=headers).status_code == 200
    many.stop()

    page = analyst.get("/alerts")
    assert page.status_code == 503
    assert "The data below are old" in page.text
    assert "data-ago" in page.text
    assert title in page.text
    assert 'id="rows"' in page.text
    assert page.text.count("<main") == page.text.count("</main>") == 1
    assert "The data below are old" in analyst.get("/pipeline").text
    other_filter = analyst.get("/alerts?level=high")
    assert title not in other_filter.text
    assert "Alerts cannot be loaded" in other_filter.text

    many.start()
    assert "The data below are old" not in analyst.get("/alerts").text


def test_hostile_text_stays_text_in_old_data(analyst: Any, attacked: Any) -> None:
    current = analyst.get("/alerts").text
    attacked.stop()
    old = analyst.get("/alerts").text
    assert "The data below are old" in old
    for tag in ("<script", "<img", "<svg", "<b>", "<meta"):
        main = current.partition("<main")[2].partition("</main>")[0]
        kept = old.partition('id="last-data"')[2].partition("</main>")[0]
        assert kept.count(tag) == main.count(tag)


def test_old_data_have_no_attributes_of_htmx(analyst: Any, many: Any) -> None:
    analyst.get("/alerts")
    many.stop()
    page = analyst.get("/alerts").text
    assert " hx-" not in page.partition('id="last-data"')[2].partition("</main>")[0]


def test_another_session_never_gets_the_data(dashboard: Any, user: Any, many: Any) -> None:
    first, second, third = (user(dashboard) for _ in range(3))
    for visitor in (first, second, third):
        assert visitor.sign_in().status_code == 303
    title = many.alerts[0]["title"]
    assert title in first.get("/alerts").text
    assert title in third.get("/alerts").text
    third.http.post("/logout", data={"csrf_token": third.token("/settings")})
    assert third.sign_in().status_code == 303

    many.stop()

    assert title in first.get("/alerts").text
    assert title not in second.get("/alerts").text
    assert title not in third.get("/alerts").text


def test_a_failed_action_is_reported_with_a_link_back(analyst: Any, many: Any) -> None:
    alert_id = many.alerts[0]["alert_id"]
    token = analyst.token(f"/alerts/{alert_id}")
    many.stop()
    data = {"csrf_token": token, "do": "acknowledge", "version": "0"}
    referrer = {"Referer": f"http://localhost/alerts/{alert_id}?from=list"}
    page = analyst.http.post(f"/alerts/{alert_id}/actions", data=data, headers=referrer)
    assert page.status_code == 503
    assert "The action failed" in page.text
    assert f'href="/alerts/{alert_id}?from=list"' in page.text
    assert page.headers["HX-Reswap"] == "none"


def test_the_status_is_that_of_the_api(analyst: Any, stranger: Any, many: Any) -> None:
    assert stranger.get("/alerts/live").status_code == 401
    assert analyst.get("/status?page=pipeline").status_code == 200
    assert analyst.http.get("/status").status_code == 200


def test_the_status_reports_an_outage(analyst: Any, many: Any) -> None:
    many.mode = "down"
    status = analyst.get("/status?page=pipeline")
    assert (status.status_code, status.mimetype) == (503, "text/plain")
    assert "cannot read the alerts" in status.text


def test_the_memory_is_limited() -> None:
    pages = LastPages()

    def page(path: str, size: int) -> LastPage:
        return LastPage(path, b"x" * size, "", dt.datetime.now(dt.UTC))

    for number in range(MAX_SESSIONS + 1):
        pages.put(f"session {number}", page("/", 10))
    assert pages.get("session 0", "/") is None
    assert pages.get(f"session {MAX_SESSIONS}", "/") is not None
    for number in range(10):
        pages.put("reader", page(f"/{number}", MAX_BYTES // 4))
    kept = [number for number in range(10) if pages.get("reader", f"/{number}")]
    assert kept == [7, 8, 9]
    pages.put("reader", page("/large", MAX_BYTES + 1))
    assert pages.get("reader", "/large") is None


def test_too_many_requests_are_reported_and_do_not_open_the_circuit(
    analyst: Any, many: Any
) -> None:
    many.mode = "limited"
    for _ in range(FAILURES + 1):
        page = analyst.get("/alerts?level=high")
        assert (page.status_code, page.headers["Retry-After"]) == (429, "60")
        assert "You send more requests in a minute than the notification service" in page.text
    many.mode = "ok"
    token = analyst.token("/alerts")
    many.mode = "limited"
    form = {"csrf_token": token, "id": many.alerts[0]["alert_id"], "do": "acknowledge"}
    action = analyst.http.post("/alerts/actions", data=form)
    assert action.status_code == 429
    assert "The action was not done." in action.text

    many.mode = "ok"
    assert analyst.get("/alerts?level=high").status_code == 200

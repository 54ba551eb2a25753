"""The page of settings: time zone and sessions."""

from typing import Any

from .fake_api import alert


def test_a_user_chooses_a_time_zone(analyst: Any, api: Any, now: Any) -> None:
    api.alerts = [alert(1, now=now)]
    page = f"/alerts/{api.alerts[0]['alert_id']}"
    assert "JST" not in analyst.get(page).text
    data = {"csrf_token": analyst.token("/settings"), "zone": "Asia/Tokyo"}
    saved = analyst.http.post("/settings/time-zone", data=data, follow_redirects=True)
    assert "Times are shown in the time zone Asia/Tokyo" in saved.text
    assert "<option selected>Asia/Tokyo" in saved.text
    assert "JST" in analyst.get(page).text
    data = {"csrf_token": analyst.token("/settings"), "zone": ""}
    analyst.http.post("/settings/time-zone", data=data)
    assert "JST" not in analyst.get(page).text


def test_an_unknown_time_zone_is_rejected(analyst: Any, api: Any) -> None:
    data = {"csrf_token": analyst.token("/settings"), "zone": "../../etc/passwd"}
    saved = analyst.http.post("/settings/time-zone", data=data, follow_redirects=True)
    assert "There is no time zone with this name." in saved.text


def test_all_sessions_of_a_user_end(dashboard: Any, analyst: Any, user: Any, api: Any) -> None:
    other = user(dashboard)
    other.sign_in()
    assert other.get("/settings").status_code == 200
    data = {"csrf_token": analyst.token("/settings"), "scope": "all"}
    assert "End all sessions" in analyst.get("/settings").text
    assert analyst.http.post("/logout", data=data).location == "/login?ended=signed-out"
    assert other.get("/settings").location == "/login?next=/settings&ended=ended"

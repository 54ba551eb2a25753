"""Pages that update themselves, in Chromium."""

import datetime as dt
from typing import Any

import pytest
from playwright.sync_api import expect

from .browser import MonitoredPage, newest, opened

pytestmark = pytest.mark.browser


def test_new_alerts_are_announced_and_move_no_row(
    monitored: MonitoredPage, site: str, many: Any
) -> None:
    page = monitored.page
    monitored.sign_in(site)
    row = page.locator("#rows > tr").nth(8)
    row.locator(".title").focus()
    page.evaluate("window.scrollBy(0, 300)")
    row_id, position = row.get_attribute("id"), row.bounding_box()
    many.alerts.append(newest(dt.datetime.now(dt.UTC), title="Arrived just now"))
    monitored.next_update()
    expect(page.locator("#new-count")).to_have_text("1 new alert")
    expect(page.locator("#rows > tr")).to_have_count(50)
    assert page.locator(f"[id='{row_id}']").bounding_box() == position
    assert page.evaluate("document.activeElement.closest('tr').id") == row_id
    page.keyboard.press("n")
    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now")
    monitored.check()


def test_a_change_by_another_user_appears_in_its_row(
    desk: MonitoredPage, site: str, many: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    item = opened(many)[0]
    item |= {"assignee": "kim", "status": "acknowledged"}
    desk.next_update()
    row = page.locator(f"[id='a-{item['alert_id']}']")
    expect(row).to_contain_text("kim")
    expect(row).to_contain_text("Acknowledged")
    desk.check()


def test_the_page_of_an_alert_updates_itself(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    item = opened(many)[0]
    desk.sign_in(site, f"/alerts/{item['alert_id']}")
    page.get_by_label("Comment").fill("half a sen")
    item |= {"assignee": "kim", "change_seq": 77, "triage_version": 2}
    desk.next_update()
    expect(page.locator(".alert-head")).to_contain_text("assigned to kim")
    expect(page.get_by_label("Comment")).to_have_value("half a sen")
    page.get_by_label("Comment").fill("a sentence")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".history")).to_contain_text("a sentence")
    expect(page.get_by_label("Comment")).to_have_value("")
    page.locator("h1").click()
    page.keyboard.press("a")
    expect(page.locator(".history")).to_contain_text("acknowledged the alert")
    assert item["status"] == "acknowledged"
    desk.check()

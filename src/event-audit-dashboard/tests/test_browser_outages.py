"""Pages during an outage of the API, in Chromium."""

from typing import Any

import pytest
from playwright.sync_api import expect

from .browser import MonitoredPage, opened, violations

pytestmark = pytest.mark.browser


def test_during_an_outage_the_page_keeps_the_old_data(
    desk: MonitoredPage, site: str, many: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    many.stop()
    desk.next_update()
    text = page.locator("#live-words")
    expect(text).to_contain_text("cannot be reached. Data of")
    expect(page.locator("#rows > tr")).to_have_count(50)
    page.goto(f"{site}/alerts?level=high")  # a page that was not opened before the outage
    expect(page.get_by_role("heading", name="Alerts cannot be loaded")).to_be_visible()
    many.start()
    desk.next_update()
    expect(page.locator("#rows > tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= desk.width
    assert all("503" in error for error in desk.errors)


def test_a_reload_during_an_outage_shows_the_last_data(
    monitored: MonitoredPage, site: str, many: Any
) -> None:
    page = monitored.page
    monitored.sign_in(site)
    last_row = page.locator("#rows > tr").last
    last_row.scroll_into_view_if_needed()
    many.stop()
    page.reload()
    outage = page.locator("#outage")
    expect(outage).to_contain_text("The data below are old")
    expect(outage.locator("time")).to_contain_text("just now")
    expect(page.locator("#rows > tr")).to_have_count(50)
    page.clock.fast_forward(65_000)
    expect(outage.locator("time")).to_contain_text("1 min ago")
    page.evaluate("scrollTo(0, 0)")  # or the sticky toolbar may cover a part of a checkbox
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= monitored.width
    last_row.scroll_into_view_if_needed()
    many.alerts[0]["title"] = "A title after the outage"
    many.start()
    monitored.next_update()
    expect(outage).to_have_count(0)
    expect(page.locator("#rows")).to_contain_text("A title after the outage")
    expect(last_row).to_be_in_viewport()
    assert all("503" in error for error in monitored.errors), monitored.errors


def test_a_page_without_live_updates_reports_an_outage_and_recovers(
    monitored: MonitoredPage, site: str, many: Any
) -> None:
    page = monitored.page
    monitored.sign_in(site)
    page.goto(f"{site}/pipeline")
    line = page.locator("#outage-line")
    page.evaluate(
        "window.scrollTo(0, 80); document.querySelector('main a').focus({preventScroll: true})"
    )
    before = page.evaluate("[window.scrollY, document.activeElement.textContent]")
    expect(line).to_be_hidden()
    many.stop()
    monitored.next_update()
    expect(line).to_contain_text("cannot be reached. Data of")
    assert page.evaluate("[window.scrollY, document.activeElement.textContent]") == before
    assert violations(page) == []
    many.letters = []
    many.start()
    with page.expect_response(lambda answer: answer.url.rstrip("?") == f"{site}/pipeline"):
        monitored.next_update()
    expect(line).to_be_hidden()
    assert page.evaluate("[window.scrollY, document.activeElement.textContent]") == before
    assert page.evaluate("document.documentElement.scrollWidth") <= monitored.width
    assert all("503" in error for error in monitored.errors), monitored.errors


def test_an_action_during_an_outage_keeps_the_page(
    desk: MonitoredPage, site: str, many: Any
) -> None:
    page = desk.page
    item = opened(many)[0]
    desk.sign_in(site)
    page.goto(f"{site}/alerts/{item['alert_id']}")
    page.get_by_label("Comment").fill("half a sentence")
    many.stop()
    page.locator("h1").click()
    page.keyboard.press("a")
    expect(page.locator("#notices")).to_contain_text("The action failed: the notification service")
    expect(page.locator(".alert-head")).to_be_visible()
    expect(page.get_by_label("Comment")).to_have_value("half a sentence")
    many.start()
    page.locator("h1").click()
    page.keyboard.press("a")
    expect(page.locator(".history")).to_contain_text("acknowledged the alert")
    assert all("503" in error for error in desk.errors), desk.errors

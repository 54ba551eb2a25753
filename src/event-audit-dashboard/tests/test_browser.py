"""Sign-in, the list, an alert and the settings in Chromium, served by the real process."""

import time
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, expect

from .browser import PASSWORD, SIZES, MonitoredPage, opened, violations

pytestmark = pytest.mark.browser


def test_sign_in_filter_and_open_an_alert(monitored: MonitoredPage, site: str, many: Any) -> None:
    page = monitored.page
    page.goto(site)
    monitored.check()
    monitored.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(50)
    expect(page.locator("#facets .total")).to_have_text("120 alerts")
    monitored.check()

    page.locator("#facets").get_by_role("link", name="Critical").click()
    page.wait_for_url("**/alerts?level=critical")
    wanted = sum(item["level"] == "critical" for item in many.alerts)
    expect(page.locator("#rows > tr")).to_have_count(min(wanted, 50))
    page.get_by_label("Text").fill("no such text")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No alert matches this filter")).to_be_visible()
    monitored.check()
    page.get_by_title("Remove this filter").first.click()
    page.wait_for_url("**/alerts?**")
    expect(page.locator("#rows > tr").first).to_be_visible()

    page.goto(f"{site}/alerts")
    title = page.locator("#rows .title").first
    text = title.inner_text()
    title.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(text)
    expect(page.get_by_role("heading", name="Why it fired")).to_be_visible()
    page.get_by_role("link", name="Record").first.click()
    expect(page.locator(".record-row pre").first).to_contain_text('"event_type": "user_login"')
    monitored.check()
    page.get_by_role("link", name="Back to the list").click()
    page.wait_for_url("**/alerts")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login?ended=signed-out")
    expect(page.get_by_text("You have signed out.")).to_be_visible()
    monitored.check()


def test_sign_in_by_keyboard(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    page.goto(site)
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts?status=open%2Cacknowledged")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    desk.check()


def test_the_second_factor_in_a_browser(monitored: MonitoredPage, site: str, many: Any) -> None:
    page = monitored.page
    monitored.sign_in(site)
    page.goto(f"{site}/settings")
    page.get_by_role("link", name="Second factor").click()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert violations(page) == []
    monitored.check()
    codes = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
    page.get_by_label("Code of the app").fill(codes.now())
    page.keyboard.press("Enter")
    expect(page.locator(".recovery-codes li")).to_have_count(10)
    recovery_code = page.locator(".recovery-codes li").first.inner_text()
    assert violations(page) == []
    monitored.check()
    page.get_by_role("link", name="Continue").click()
    expect(page.locator("main")).to_contain_text("10 recovery codes")
    page.get_by_role("button", name="Sign out").click()

    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code")).to_be_focused()
    assert violations(page) == []
    monitored.check()
    page.keyboard.type(codes.at(time.time() + 30))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    page.goto(f"{site}/settings/second-factor")
    page.get_by_label("Code of the app, or a recovery code").fill(recovery_code)
    page.get_by_role("button", name="Delete the second factor").click()
    expect(page.locator("main")).to_contain_text("not enabled")
    monitored.check()


def test_hostile_text_has_no_effect(monitored: MonitoredPage, site: str, attacked: Any) -> None:
    page = monitored.page
    page.on("dialog", lambda dialog: monitored.errors.append(dialog.message))
    monitored.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(3)
    monitored.check()
    for item in attacked.alerts:
        item["count"] += 1
    monitored.next_update()
    expect(page.locator("#rows > tr.is-changed")).to_have_count(3)
    monitored.check()
    for item in attacked.alerts:
        page.goto(f"{site}/alerts/{item['alert_id']}")
        page.get_by_role("link", name="Record").first.click()
        expect(page.locator(".record-row pre").first).to_be_visible()
        for more in page.locator("main details.more:not([open]) > summary").all():
            if more.is_visible():
                more.click()
        page.wait_for_load_state("networkidle")
        monitored.check()


def test_the_selected_theme_is_stored(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    desk.check()


def test_times_are_in_the_time_zone_of_the_user(chromium: Browser, site: str, many: Any) -> None:
    watched = MonitoredPage(chromium, SIZES["desk"], timezone_id="Asia/Tokyo")
    item = opened(many)[0]
    watched.sign_in(site)
    watched.page.goto(f"{site}/alerts/{item['alert_id']}")
    time = watched.page.locator(".events time").first
    expect(time).to_contain_text("JST")
    assert (time.get_attribute("title") or "").endswith("UTC")
    watched.context.close()

"""The pages in Chromium, served by the real process."""

import datetime as dt
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .fake_api import alert, hostile, stamp

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "correct horse battery staple"
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
#: Longer than two updates of the live list.
LIVE_MS = 12_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.fail(
            "chromium is not installed: `make test` installs it, or apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


class MonitoredPage:
    """A page with the errors and warnings of its browser console."""

    def __init__(self, browser: Browser, size: tuple[int, int], **context: Any) -> None:
        self.width = size[0]
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, **context
        )
        self.page: Page = self.context.new_page()
        self.page.clock.install()
        self.errors: list[str] = []
        self.page.on("console", self._record)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _record(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def sign_in(self, site: str, path: str = "/alerts") -> None:
        self.page.goto(site + path)
        self.page.get_by_label("User").fill("admin")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(site + path)

    def next_update(self) -> None:
        """Advance the clock to the next update of the live list."""
        self.page.clock.fast_forward(5000)

    def check(self) -> None:
        """Assert that the page does not overflow and the console has no errors."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.errors == []


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def monitored(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[MonitoredPage]:
    monitored = MonitoredPage(chromium, request.param)
    yield monitored
    monitored.context.close()


@pytest.fixture
def desk(chromium: Browser) -> Iterator[MonitoredPage]:
    monitored = MonitoredPage(chromium, SIZES["desk"])
    yield monitored
    monitored.context.close()


def newest(now: dt.datetime, **fields: Any) -> dict[str, Any]:
    return alert(5000, now=now, first_seen=stamp(now), last_seen=stamp(now), **fields)


def test_sign_in_filter_and_open_an_alert(monitored: MonitoredPage, site: str, many: Any) -> None:
    page = monitored.page
    page.goto(site)
    monitored.check()
    monitored.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(50)
    monitored.check()

    if monitored.width < 500:
        page.get_by_text("More", exact=True).click()
    page.get_by_label("Severity").select_option(label="Critical")
    page.get_by_label("Host").fill("web-01")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/alerts?severity=CRITICAL&host=web-01")
    wanted = sum(
        item["severity"] == "CRITICAL" and item["server_hostname"] == "web-01"
        for item in many.alerts
    )
    expect(page.locator("#rows > tr")).to_have_count(wanted)
    monitored.check()

    title = page.locator("#rows .title").first
    text = title.inner_text()
    title.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(text)
    expect(page.get_by_role("heading", name="Why it fired")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text('"event_type": "user_login"')
    monitored.check()

    page.get_by_role("link", name="Back to the filtered list").click()
    page.wait_for_url("**/alerts?severity=CRITICAL&host=web-01")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    monitored.check()


def test_a_new_alert_appears_automatically(monitored: MonitoredPage, site: str, many: Any) -> None:
    page = monitored.page
    monitored.sign_in(site)
    row = page.locator("#rows > tr").nth(8)
    row.locator(".title").focus()
    page.evaluate("window.scrollBy(0, 300)")
    row_id, position = row.get_attribute("id"), row.bounding_box()
    assert position

    many.alerts.append(newest(dt.datetime.now(dt.UTC), title="Arrived just now"))

    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now", timeout=LIVE_MS)
    expect(page.locator("#rows > tr").first).to_have_class(re.compile("is-new"))
    expect(page.get_by_role("status")).to_have_text("1 new alert")
    expect(page.locator("#live-words")).to_contain_text("Live, updated")
    focused = page.evaluate("document.activeElement.closest('tr').id")
    assert focused == row_id
    after = page.locator(f"[id='{row_id}']").bounding_box()
    assert after
    assert abs(after["y"] - position["y"]) < 2
    monitored.check()


def test_the_first_alert_replaces_the_empty_page(desk: MonitoredPage, site: str, api: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    expect(page.get_by_role("heading", name="No alerts yet")).to_be_visible()
    api.alerts.append(newest(dt.datetime.now(dt.UTC)))
    desk.next_update()
    expect(page.locator("#rows > tr")).to_have_count(1, timeout=LIVE_MS)
    expect(page.get_by_role("heading", name="No alerts yet")).to_have_count(0)
    desk.check()


def test_during_an_outage_the_page_keeps_the_old_data(
    desk: MonitoredPage, site: str, many: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    many.stop()
    desk.next_update()
    text = page.locator("#live-words")
    expect(text).to_contain_text("cannot be reached, showing data of", timeout=LIVE_MS)
    expect(page.locator("#rows > tr")).to_have_count(50)
    page.reload()
    expect(page.get_by_role("heading", name="Alerts cannot be loaded")).to_be_visible()
    many.start()
    desk.next_update()
    expect(page.locator("#rows > tr")).to_have_count(50, timeout=LIVE_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= desk.width
    assert all("503" in item for item in desk.errors)


def test_a_paused_list_does_not_change(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-words")).to_contain_text("Paused, showing data of")
    asked = len(many.requests)
    many.alerts.append(newest(dt.datetime.now(dt.UTC), title="Arrived just now"))
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now")
    assert len(many.requests) == asked + 1
    desk.check()


def test_hostile_text_has_no_effect(monitored: MonitoredPage, site: str, attacked: Any) -> None:
    page = monitored.page
    page.on("dialog", lambda dialog: monitored.errors.append(dialog.message))
    monitored.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(3)
    monitored.check()
    attacked.alerts[:] = hostile(dt.datetime.now(dt.UTC))
    monitored.next_update()
    expect(page.locator("#rows > tr.is-changed")).to_have_count(3, timeout=LIVE_MS)
    monitored.check()
    for item in attacked.alerts:
        page.goto(f"{site}/alerts/{item['alert_id']}")
        for more in page.locator("details:not([open]) > summary").all():
            if more.is_visible():
                more.click()
        monitored.check()


def test_sign_in_by_keyboard(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    page.goto(site)
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    desk.check()


def test_the_selected_theme_is_stored(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    desk.check()

"""What people see and do, in Chromium, against the real program."""

import datetime as dt
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .dashboard_stand_in import alert, hostile, stamp

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "correct horse battery staple"
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
#: Longer than two turns of the live list.
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


class Watched:
    """A page, and every complaint that the browser has about it."""

    def __init__(self, browser: Browser, size: tuple[int, int], **context: Any) -> None:
        self.width = size[0]
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, **context
        )
        self.page: Page = self.context.new_page()
        self.page.clock.install()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def sign_in(self, site: str, path: str = "/alerts") -> None:
        self.page.goto(site + path)
        self.page.get_by_label("User").fill("admin")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(site + path)

    def next_turn(self) -> None:
        """As if the time to the next question of the live list had passed."""
        self.page.clock.fast_forward(5000)

    def check(self) -> None:
        """Nothing sticks out at the side, and nothing was complained about."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.complaints == []


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def watched(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    watched = Watched(chromium, request.param)
    yield watched
    watched.context.close()


@pytest.fixture
def desk(chromium: Browser) -> Iterator[Watched]:
    watched = Watched(chromium, SIZES["desk"])
    yield watched
    watched.context.close()


def newest(now: dt.datetime, **fields: Any) -> dict[str, Any]:
    return alert(5000, now=now, first_seen=stamp(now), last_seen=stamp(now), **fields)


def test_from_sign_in_to_the_evidence(watched: Watched, site: str, many: Any) -> None:
    page = watched.page
    page.goto(site)
    watched.check()
    watched.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(50)
    watched.check()

    if watched.width < 500:
        page.get_by_text("More", exact=True).click()
    page.get_by_label("Severity").select_option(label="Critical")
    page.get_by_label("Host").fill("web-01")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/alerts?severity=CRITICAL&host=web-01")
    wanted = sum(
        one["severity"] == "CRITICAL" and one["server_hostname"] == "web-01" for one in many.alerts
    )
    expect(page.locator("#rows > tr")).to_have_count(wanted)
    watched.check()

    title = page.locator("#rows .title").first
    words = title.inner_text()
    title.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(words)
    expect(page.get_by_role("heading", name="Why it fired")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text('"event_type": "user_login"')
    watched.check()

    page.get_by_role("link", name="Back to the filtered list").click()
    page.wait_for_url("**/alerts?severity=CRITICAL&host=web-01")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    watched.check()


def test_a_new_alert_arrives_by_itself(watched: Watched, site: str, many: Any) -> None:
    page = watched.page
    watched.sign_in(site)
    row = page.locator("#rows > tr").nth(8)
    row.locator(".title").focus()
    page.evaluate("window.scrollBy(0, 300)")
    known, place = row.get_attribute("id"), row.bounding_box()
    assert place

    many.alerts.append(newest(dt.datetime.now(dt.UTC), title="Arrived just now"))

    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now", timeout=LIVE_MS)
    expect(page.locator("#rows > tr").first).to_have_class(re.compile("is-new"))
    expect(page.get_by_role("status")).to_have_text("1 new alert")
    expect(page.locator("#live-words")).to_contain_text("Live, updated")
    focused = page.evaluate("document.activeElement.closest('tr').id")
    assert focused == known
    after = page.locator(f"[id='{known}']").bounding_box()
    assert after
    assert abs(after["y"] - place["y"]) < 2
    watched.check()


def test_the_first_alert_takes_the_place_of_the_empty_page(
    desk: Watched, site: str, api: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    expect(page.get_by_role("heading", name="No alerts yet")).to_be_visible()
    api.alerts.append(newest(dt.datetime.now(dt.UTC)))
    desk.next_turn()
    expect(page.locator("#rows > tr")).to_have_count(1, timeout=LIVE_MS)
    expect(page.get_by_role("heading", name="No alerts yet")).to_have_count(0)
    desk.check()


def test_an_outage_is_told_beside_the_old_data_and_ends(
    desk: Watched, site: str, many: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    many.stop()
    desk.next_turn()
    words = page.locator("#live-words")
    expect(words).to_contain_text("cannot be reached, showing data of", timeout=LIVE_MS)
    expect(page.locator("#rows > tr")).to_have_count(50)
    page.reload()
    expect(page.get_by_role("heading", name="Alerts cannot be loaded now")).to_be_visible()
    many.start()
    desk.next_turn()
    expect(page.locator("#rows > tr")).to_have_count(50, timeout=LIVE_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= desk.width
    assert all("503" in one for one in desk.complaints)


def test_paused_it_stands_still(desk: Watched, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-words")).to_contain_text("Paused, showing data of")
    asked = len(many.asked)
    many.alerts.append(newest(dt.datetime.now(dt.UTC), title="Arrived just now"))
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now")
    assert len(many.asked) == asked + 1
    desk.check()


def test_hostile_text_does_nothing(watched: Watched, site: str, attacked: Any) -> None:
    page = watched.page
    page.on("dialog", lambda dialog: watched.complaints.append(dialog.message))
    watched.sign_in(site)
    expect(page.locator("#rows > tr")).to_have_count(3)
    watched.check()
    attacked.alerts[:] = hostile(dt.datetime.now(dt.UTC))
    watched.next_turn()
    expect(page.locator("#rows > tr.is-changed")).to_have_count(3, timeout=LIVE_MS)
    watched.check()
    for one in attacked.alerts:
        page.goto(f"{site}/alerts/{one['alert_id']}")
        for more in page.locator("details:not([open]) > summary").all():
            if more.is_visible():
                more.click()
        watched.check()


def test_the_keyboard_is_enough(desk: Watched, site: str, many: Any) -> None:
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


def test_a_chosen_theme_is_kept(desk: Watched, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site)
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    desk.check()

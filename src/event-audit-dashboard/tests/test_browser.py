"""The pages in Chromium, served by the real process."""

import datetime as dt
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .fake_api import alert, stamp

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
            self.errors.append(f"{message.text} {message.location['url']}")

    def sign_in(self, site: str, path: str = "/alerts") -> None:
        self.page.goto(site + path)
        self.page.get_by_label("User").fill("admin")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(site + path)
        if not path.startswith("/login"):
            expect(self.page.locator("#live-words")).to_contain_text("Live")  # scripts have started

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


def opened(many: Any) -> list[dict[str, Any]]:
    return [item for item in many.alerts if item["status"] == "open"]


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


def test_an_alert_is_finished_with_two_keys(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site, "/alerts?status=open")
    first, second = opened(many)[:2]
    page.keyboard.press("j")
    expect(page.locator("#rows > tr.current")).to_have_attribute("id", f"a-{first['alert_id']}")
    page.keyboard.press("e")
    page.keyboard.press("f")
    # The row leaves the list of open alerts, and the next row is the current row.
    expect(page.get_by_text("1 alert resolved: False positive")).to_be_visible()
    assert first["verdict"] == "false_positive"
    expect(page.locator("#rows > tr.current")).to_have_attribute("id", f"a-{second['alert_id']}")
    page.keyboard.press("u")
    expect(page.get_by_text("Undone for 1 alert")).to_be_visible()
    assert first["status"] == "open"
    desk.check()


def test_a_selection_is_acknowledged_with_one_comment(
    monitored: MonitoredPage, site: str, many: Any
) -> None:
    page = monitored.page
    monitored.sign_in(site, "/alerts?status=open")
    boxes = page.locator("#rows input[name=id]")
    boxes.nth(0).check()
    boxes.nth(2).check()
    expect(page.locator("#picked")).to_have_text("2 selected")
    page.get_by_label("Comment").fill("planned work")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("2 alerts acknowledged")).to_be_visible()
    assert [entry["comment"] for entry in many.history] == ["planned work"] * 2
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone for 2 alerts")).to_be_visible()
    monitored.check()


def test_x_selects_and_the_palette_runs_commands(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site, "/alerts?status=open")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("#picked")).to_have_text("2 selected")
    page.keyboard.press("Control+k")
    page.keyboard.type("acknow")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 alerts acknowledged")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Next alert")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/alerts?status=open%2Cacknowledged")
    desk.check()


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
    expect(page.locator("#new-count")).to_have_text("1 new alert", timeout=LIVE_MS)
    expect(page.locator("#rows > tr")).to_have_count(50)
    assert page.locator(f"[id='{row_id}']").bounding_box() == position
    assert page.evaluate("document.activeElement.closest('tr').id") == row_id
    page.keyboard.press("n")
    expect(page.locator("#rows > tr").first).to_contain_text("Arrived just now", timeout=LIVE_MS)
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
    expect(row).to_contain_text("kim", timeout=LIVE_MS)
    expect(row).to_contain_text("Acknowledged")
    desk.check()


def test_the_page_of_an_alert_updates_itself(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    item = opened(many)[0]
    desk.sign_in(site, f"/alerts/{item['alert_id']}")
    page.get_by_label("Comment").fill("half a sen")
    item |= {"assignee": "kim", "change_seq": 77, "triage_version": 2}
    desk.next_update()
    expect(page.locator(".alert-head")).to_contain_text("assigned to kim", timeout=LIVE_MS)
    expect(page.get_by_label("Comment")).to_have_value("half a sen")
    page.get_by_label("Comment").fill("a sentence")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".history")).to_contain_text("a sentence")
    page.locator("h1").click()
    page.keyboard.press("a")
    expect(page.locator(".history")).to_contain_text("acknowledged the alert")
    assert item["status"] == "acknowledged"
    desk.check()


def test_during_an_outage_the_page_keeps_the_old_data(
    desk: MonitoredPage, site: str, many: Any
) -> None:
    page = desk.page
    desk.sign_in(site)
    many.stop()
    desk.next_update()
    text = page.locator("#live-words")
    expect(text).to_contain_text("cannot be reached. Data of", timeout=LIVE_MS)
    expect(page.locator("#rows > tr")).to_have_count(50)
    page.goto(f"{site}/alerts?level=high")  # a page that was not opened before the outage
    expect(page.get_by_role("heading", name="Alerts cannot be loaded")).to_be_visible()
    many.start()
    desk.next_update()
    expect(page.locator("#rows > tr").first).to_be_visible(timeout=LIVE_MS)
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
    expect(outage.locator("time")).to_contain_text("1 min ago", timeout=LIVE_MS)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= monitored.width
    last_row.scroll_into_view_if_needed()
    many.alerts[0]["title"] = "A title after the outage"
    many.start()
    monitored.next_update()
    expect(outage).to_have_count(0, timeout=LIVE_MS)
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
    expect(line).to_contain_text("cannot be reached. Data of", timeout=LIVE_MS)
    assert page.evaluate("[window.scrollY, document.activeElement.textContent]") == before
    assert violations(page) == []
    many.letters = []
    many.start()
    with page.expect_response(lambda answer: answer.url.rstrip("?") == f"{site}/pipeline"):
        monitored.next_update()
    expect(line).to_be_hidden(timeout=LIVE_MS)
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
    expect(page.locator(".history")).to_contain_text("acknowledged the alert", timeout=LIVE_MS)
    assert all("503" in error for error in desk.errors), desk.errors


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
    expect(page.locator("#rows > tr.is-changed")).to_have_count(3, timeout=LIVE_MS)
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_pages_are_accessible(
    chromium: Browser, site: str, many: Any, scheme: str, size: str
) -> None:
    watched = MonitoredPage(chromium, SIZES[size], color_scheme=scheme, bypass_csp=True)
    page = watched.page
    page.goto(f"{site}/login")
    problems = [f"login: {text}" for text in violations(page)]
    watched.sign_in(site)
    alert_id = opened(many)[0]["alert_id"]
    for path in ("/alerts", f"/alerts/{alert_id}", "/alerts?status=wrong", "/settings", "/nowhere"):
        page.goto(site + path)
        if path == "/alerts":
            expect(page.locator("#facets .total")).to_be_visible()
        problems += [f"{path}: {text}" for text in violations(page) + small_targets(page)]
    watched.context.close()
    assert problems == []


def test_the_pages_are_accessible_and_complete_in_german(
    chromium: Browser, site: str, many: Any, now: dt.datetime
) -> None:
    watched = MonitoredPage(chromium, SIZES["phone"], locale="de-DE", bypass_csp=True)
    page = watched.page
    page.goto(f"{site}/login")
    problems = [f"login: {text}" for text in violations(page)]
    page.locator("#user").fill("admin")
    page.locator("#password").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    expect(page.locator("#live-words")).to_contain_text("Live")
    many.alerts += [newest(now, title="A new alert")]
    watched.next_update()
    expect(page.locator("#new-count")).to_have_text("1 neuer Alarm", timeout=LIVE_MS)
    for path in ("/alerts", f"/alerts/{opened(many)[0]['alert_id']}", "/settings", "/nowhere"):
        page.goto(site + path)
        if path == "/alerts":
            expect(page.locator("#facets .total")).to_contain_text("Alarme")
        expect(page.locator("html")).to_have_attribute("lang", "de")
        problems += [f"{path}: {text}" for text in violations(page)]
    page.keyboard.press("?")
    expect(page.locator("#help-body")).to_contain_text("Letzte Aktion rückgängig machen")
    watched.errors[:] = [text for text in watched.errors if "/nowhere" not in text]
    watched.check()
    watched.context.close()
    assert problems == []


#: Links in a sentence may be smaller. The label of a checkbox belongs to its target.
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, select, summary, textarea")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => !element.closest("dialog, .out-of-sight, .skip, [tabindex='-1'], svg"))
  .filter((element) => getComputedStyle(element).display !== "inline")
  .filter((element) => {
    const box = (element.closest("label") ?? element).getBoundingClientRect();
    return box.width && (box.width < 23.9 || box.height < 23.9);
  })
  .map((element) => element.outerHTML.slice(0, 150))"""


INVISIBLE_STOPS = """() => [...document.querySelectorAll("a, button, input, select, summary, textarea, [tabindex]")]
  .filter((element) => element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => {
    const box = element.getBoundingClientRect();
    const hidden = element.closest(".out-of-sight, [aria-hidden=true]");
    return hidden || box.width < 2 || box.height < 2 || getComputedStyle(element).opacity === "0";
  })
  .map((element) => element.outerHTML.slice(0, 150))"""


def small_targets(page: Page) -> list[str]:
    """Visible controls that are smaller than 24 px, and tab stops that cannot be seen."""
    return [
        *(f"target: {text}" for text in page.evaluate(SMALL_TARGETS)),
        *(f"invisible tab stop: {text}" for text in page.evaluate(INVISIBLE_STOPS)),
    ]


def violations(page: Page) -> list[str]:
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]


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

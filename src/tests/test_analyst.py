"""Events are posted, and the alert appears in the browser with its reasons."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from auditflow_local.polling import eventually

from .chromium import new_page, open_chromium
from .events import START, failed_login
from .platform import Platform, client


@pytest.fixture
def page() -> Iterator[Page]:
    with open_chromium() as browser:
        yield new_page(browser, viewport={"width": 1440, "height": 900})


def sign_in(page: Page, platform: Platform) -> None:
    page.goto(platform.dashboard.url)
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(platform.secrets["DASHBOARD_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Alerts")


def archived(platform: Platform, user: str) -> list[Any]:
    """The archived events of a user at the time of the test events."""
    headers = {"Authorization": f"Bearer {platform.secrets['API_TOKEN']}"}
    with client(base_url=platform.archive.url, headers=headers) as archive:
        parameters = {"user": user, "since": (START - dt.timedelta(hours=1)).isoformat()}
        found: list[Any] = archive.get("/api/v1/events", params=parameters).json()["events"]
    return found


@pytest.mark.browser
def test_an_alert_arrives_and_explains_itself(platform: Platform, page: Page) -> None:
    # Given an analyst who has signed in and sees an empty list
    sign_in(page, platform)
    expect(page.get_by_text("No alert matches this filter")).to_be_visible()
    # when somebody guesses a password
    platform.send([failed_login(f"guess-{number}", "alice", at=number) for number in range(4)])
    eventually(platform.alerts)
    # then the alert appears, and its page says why it fired
    link = page.get_by_role("link", name="Burst of failed logins", exact=True)
    expect(link).to_be_visible()
    link.click()
    expect(page.get_by_text("4 failed logins of alice on web-01").first).to_be_visible()
    expect(page.locator(".events tbody > tr[id]")).to_have_count(4)
    expect(page.get_by_text(START.strftime("%H:%M:%S")).first).to_be_visible()


@pytest.mark.browser
def test_the_archive_completes_the_events_of_an_alert(platform: Platform, page: Page) -> None:
    # Given an alert, of whose events the notification service stores only the first and the last
    platform.send([failed_login(f"missing-{number}", "dora", at=number) for number in range(4)])
    eventually(platform.alerts)
    eventually(lambda: len(archived(platform, "dora")) == 4, what="the events in the archive")
    sign_in(page, platform)
    # when its page is opened, then all events have their fields, and each record can be read
    page.get_by_role("link", name="Burst of failed logins", exact=True).click()
    rows = page.locator("#event-table tbody > tr[id]")
    expect(rows.filter(has=page.get_by_role("cell", name="dora", exact=True))).to_have_count(4)
    rows.nth(1).get_by_role("link", name="Record").click()
    expect(page.locator("#record-1 pre")).to_contain_text('"event_id": "missing-2"')
    # and a browser without JavaScript reaches the same table
    assert page.context.browser
    plain = new_page(page.context.browser, java_script_enabled=False)
    sign_in(plain, platform)
    plain.goto(f"{page.url.partition('#')[0]}/events")
    expect(plain.get_by_role("cell", name="dora", exact=True)).to_have_count(4)


@pytest.mark.browser
def test_an_analyst_triages_alerts_by_keyboard(platform: Platform, page: Page) -> None:
    # Given alerts of three users
    for user in ("alice", "bob", "carol"):
        platform.send([failed_login(f"{user}-{n}", user, at=n) for n in range(4)])
    eventually(lambda: len(platform.alerts()) == 3)
    sign_in(page, platform)
    rows = page.locator("#rows > tr")
    expect(rows).to_have_count(3)
    expect(page.locator("#live-words")).to_contain_text("Live")  # the scripts have started
    # when the analyst acknowledges one alert and resolves another one with two keys
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.get_by_text("1 alert acknowledged")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.keyboard.press("f")
    expect(page.get_by_text("1 alert resolved: False positive")).to_be_visible()
    # then the list of unresolved alerts has the other two, and an undo brings the alert back
    expect(rows).to_have_count(2)
    page.keyboard.press("u")
    expect(page.get_by_text("Undone for 1 alert")).to_be_visible()
    expect(rows).to_have_count(3)
    # and the history of the alert names the analyst, the verdict and the undo
    links = [title.get_attribute("href") for title in page.locator("#rows .title").all()]
    histories = []
    for link in links:
        page.goto(platform.dashboard.url + str(link))
        histories.append(page.locator(".history").inner_text())
    assert sum("admin acknowledged the alert" in text for text in histories) == 1
    assert sum("admin resolved the alert: False positive" in text for text in histories) == 1
    assert sum("admin undid the last action" in text for text in histories) == 1


@pytest.mark.browser
def test_an_analyst_comments_snoozes_and_resolves_on_the_page_of_an_alert(
    platform: Platform, page: Page
) -> None:
    # Given an open alert
    platform.send([failed_login(f"guess-{number}", "alice", at=number) for number in range(4)])
    eventually(platform.alerts)
    sign_in(page, platform)
    page.get_by_role("link", name="Burst of failed logins", exact=True).click()
    # when the analyst comments, assigns, snoozes and resolves it
    page.get_by_label("Comment").fill("Alice forgot her <b>password</b>.")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".history")).to_contain_text("Alice forgot her <b>password</b>.")
    page.get_by_role("button", name="Assign to me").click()
    expect(page.locator(".alert-head")).to_contain_text("assigned to admin")
    page.get_by_text("Snooze …").click()
    page.get_by_role("button", name="8 hours").click()
    expect(page.locator(".alert-head")).to_contain_text("Snoozed until")
    page.get_by_text("Resolve …").click()
    page.get_by_role("button", name="Benign").click()
    expect(page.locator(".alert-head")).to_contain_text("Benign")
    # then the API has the verdict, and a second browser without JavaScript shows the same
    assert [alert["verdict"] for alert in platform.alerts()] == ["benign"]
    assert page.context.browser
    plain = new_page(page.context.browser, java_script_enabled=False)
    sign_in(plain, platform)
    plain.get_by_role("link", name="Resolved", exact=True).click()
    plain.get_by_role("link", name="Burst of failed logins", exact=True).click()
    expect(plain.locator(".history")).to_contain_text("resolved the alert: Benign")
    plain.get_by_role("button", name="Reopen").click()
    expect(plain.locator(".alert-head")).to_contain_text("Open")
    assert [alert["status"] for alert in platform.alerts()] == ["open"]

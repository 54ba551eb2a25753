"""What an analyst does: events go in, and the alert arrives in the browser with its reasons."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from .events import START, failed_login
from .platform import Platform, eventually

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def page() -> Iterator[Page]:
    assert shutil.which("chromium"), "Chromium is missing: make test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        yield context.new_page()
        browser.close()


@pytest.mark.browser
def test_an_alert_arrives_and_explains_itself(platform: Platform, page: Page) -> None:
    # Given an analyst who has signed in and sees that there is nothing
    page.goto(platform.dashboard.url)
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(platform.secrets["DASHBOARD_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Alerts")
    # when somebody guesses a password
    platform.send([failed_login(f"guess-{number}", "alice", at=number) for number in range(4)])
    eventually(platform.alerts)
    # then the alert comes by itself, and says why it fired
    link = page.get_by_role("link", name="Burst of failed logins")
    expect(link).to_be_visible(timeout=30_000)
    link.click()
    expect(page.get_by_text("4 failed logins of alice on web-01").first).to_be_visible()
    expect(page.get_by_text("guess-0").first).to_be_visible()
    expect(page.get_by_text(START.strftime("%H:%M:%S")).first).to_be_visible()

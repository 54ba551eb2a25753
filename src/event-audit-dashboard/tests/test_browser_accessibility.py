"""Accessibility of the pages, in Chromium, in English and German."""

import datetime as dt
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from .browser import (
    PASSWORD,
    SIZES,
    MonitoredPage,
    newest,
    opened,
    small_targets,
    violations,
)

pytestmark = pytest.mark.browser


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
    expect(page.locator("#new-count")).to_have_text("1 neuer Alarm")
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

"""The pages of archived events in a browser, with the real services."""

import pytest
from playwright.sync_api import Page, expect
from src.tests.platform import Platform

pytestmark = pytest.mark.browser


def test_events_are_searched_counted_and_opened(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/events")
    facets = page.locator("#event-facets")
    expect(facets.locator(".total")).to_have_text("120 events")
    expect(page.locator(".grid tbody tr")).to_have_count(50)
    facets.get_by_role("link", name="FAILURE").click()
    expect(page.locator("#event-facets .total")).to_have_text("40 events")
    page.get_by_label("User").fill("<b>mallory</b>")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#event-facets .total")).to_have_text("20 events")
    expect(page.locator(".grid tbody tr")).to_have_count(20)
    page.locator("#event-chart a").first.click()
    expect(page.get_by_role("list", name="Active filters")).to_contain_text("From")
    page.locator(".grid tbody a").first.click()
    expect(page.get_by_role("region", name="Event as JSON")).to_contain_text("<b>mallory</b>")
    page.get_by_role("link", name="Timeline and risk of <b>mallory</b>").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("User <b>mallory</b>")
    page.get_by_role("link", name="60 events").click()
    expect(page.locator("#event-facets .total")).to_have_text("60 events")


def test_events_are_exported(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/events?action_result=FAILURE")
    expect(plain.locator(".grid tbody tr")).to_have_count(40)
    link = plain.get_by_role("link", name="Export").get_attribute("href")
    answer = plain.context.request.get(f"{site.dashboard.url}{link}")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.text().splitlines()
    assert len(lines) == 40
    assert all('"event_id"' in line for line in lines)
    wrong = plain.goto(f"{site.dashboard.url}/events?since=yesterday")
    assert wrong is not None
    assert wrong.status == 400
    expect(plain.get_by_text("since")).to_be_visible()

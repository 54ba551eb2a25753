"""The overview, entities and saved views in a browser, with the real services."""

import pytest
from playwright.sync_api import Page, expect
from src.tests.dashboard.site import alert_of
from src.tests.platform import Platform

from auditflow_local.polling import eventually

pytestmark = pytest.mark.browser


def test_the_figures_of_the_overview_lead_to_their_lists(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/overview")
    unresolved = [alert for alert in site.alerts() if alert["status"] != "resolved"]
    figure = page.get_by_role("link", name="unresolved, active since")
    expect(figure.locator("strong")).to_have_text(str(len(unresolved)))
    expect(page.get_by_role("region", name="Pipeline")).to_contain_text("Works")
    expect(page.locator(".chart").first).to_contain_text(f"{len(site.alerts())} alerts")
    figure.click()
    expect(page.locator("#rows > tr")).to_have_count(len(unresolved))
    page.keyboard.press("g")
    page.keyboard.press("o")
    level = page.get_by_role("region", name="Unresolved by level").get_by_role("link", name="High")
    count = int(level.locator("strong").inner_text())
    level.click()
    expect(page.locator("#rows > tr")).to_have_count(count)


def test_an_outage_of_the_analysis_is_on_the_overview(site: Platform, plain: Page) -> None:
    site.analysis.stop()

    def reported() -> bool:
        plain.goto(f"{site.dashboard.url}/overview")
        return "the analysis cannot be reached" in plain.locator("main").inner_text()

    eventually(reported, what="the outage")
    site.analysis.start()
    eventually(lambda: not reported(), what="the recovery")


def test_an_entity_has_its_alerts_risk_and_times(site: Platform, page: Page) -> None:
    alert = alert_of(site, "bob")
    page.goto(f"{site.dashboard.url}/alerts/{alert['alert_id']}")
    page.get_by_role("link", name="Timeline and risk of bob").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("User bob")
    expect(page.get_by_role("region", name="Risk")).to_contain_text("30 points of 1 alert")
    expect(page.get_by_role("region", name="Facts")).to_contain_text("First seen")
    expect(page.get_by_role("link", name="Burst of failed logins").first).to_be_visible()
    page.goto(f"{site.dashboard.url}/entity?kind=user&value=%3Cb%3Emallory%3C%2Fb%3E")
    expect(page.get_by_role("heading", level=1)).to_have_text("User <b>mallory</b>")
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline).to_contain_text("60 events since")
    expect(timeline.locator("svg .mark").first).to_be_attached()
    timeline.locator(".event-line a").first.click()
    expect(page.get_by_role("region", name="Event as JSON")).to_contain_text("<b>mallory</b>")


def test_a_view_is_saved_and_opened_from_the_command_palette(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/alerts?level=high")
    page.locator("summary").filter(has_text="Save view").click()
    page.get_by_label("Name of this filter").fill("Loud <b>ones</b>")
    page.get_by_label("Share it with everybody").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".tabs [aria-current]")).to_have_text("Loud <b>ones</b>")
    page.goto(f"{site.dashboard.url}/rules")
    page.keyboard.press("Control+k")
    page.get_by_label("Command", exact=True).fill("loud")
    expect(page.get_by_role("option", name="Saved view: Loud")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.dashboard.url}/alerts?level=high")
    page.goto(f"{site.dashboard.url}/alerts/views")
    page.get_by_role("button", name="Delete the view Loud").click()
    expect(page.get_by_role("heading", name="No saved views")).to_be_visible()

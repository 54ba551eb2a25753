"""Routes, deliveries and silences in a browser, with the real services."""

import pytest
from playwright.sync_api import Page, expect
from src.tests.dashboard.site import alert_of
from src.tests.platform import Platform

from auditflow_local.polling import eventually

pytestmark = pytest.mark.browser


def test_the_route_of_an_alert_is_shown_before_it_exists(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/notifications")
    expect(plain.locator(".node")).to_have_count(4)
    expect(plain.locator(".node.selected")).to_have_count(0)
    expect(plain.get_by_role("region", name="On call now")).to_contain_text("Alice")
    plain.get_by_label("Level").select_option("critical")
    plain.get_by_label("Environment").fill("prod")
    plain.get_by_role("button", name="Show the route").click()
    expect(plain.locator("main").get_by_role("status")).to_contain_text("goes to inbox")
    expect(plain.locator(".node.selected")).to_have_count(1)
    expect(plain.locator(".node.selected")).to_contain_text('environment="prod"')
    plain.get_by_label("Environment").fill("local")
    plain.get_by_role("button", name="Show the route").click()
    expect(plain.locator("main").get_by_role("status")).to_contain_text(
        "goes to on-duty (on call: inbox)"
    )


def test_a_test_notification_is_sent(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/notifications")
    page.get_by_role("button", name="Send a test to inbox").click()
    expect(page.locator("#notices")).to_contain_text("A test notification to inbox is queued")

    def delivered() -> bool:
        page.reload()
        row = page.locator(".grid tbody tr").filter(has_text="test,").first
        return "Sent" in row.inner_text()

    eventually(delivered, what="the delivery")


def test_a_dead_notification_is_sent_again(site: Platform, page: Page) -> None:
    def dead() -> int:
        page.goto(f"{site.dashboard.url}/notifications/deliveries?status=dead&receiver=refuses")
        return page.locator(".grid tbody tr").count()

    eventually(dead, what="a dead notification")
    expect(page.locator(".grid tbody tr").first).to_contain_text("404")
    page.get_by_role("button", name="Send again to refuses").first.click()
    expect(page.locator("#notices")).to_contain_text("The notification is sent again.")


def test_a_silence_is_previewed_created_and_ended(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/silences")
    plain.get_by_role("link", name="New silence").click()
    conditions = plain.get_by_label("Silence alerts that meet all of these conditions")
    conditions.fill("level is low")
    plain.get_by_role("button", name="Preview").click()
    expect(plain.get_by_role("alert")).to_contain_text("is not a matcher")
    conditions.fill('actor="bob"')
    plain.get_by_role("button", name="Preview").click()
    expect(plain.locator("main").get_by_role("status")).to_contain_text(
        "It would have silenced 1 alert"
    )
    expect(plain.get_by_role("link", name="Burst of failed logins")).to_be_visible()
    plain.get_by_role("button", name="Create").click()
    expect(plain.get_by_role("alert")).to_contain_text("Enter the reason")
    plain.get_by_label("Reason").fill("Bob <i>tests</i> the VPN")
    plain.get_by_role("button", name="Create").click()
    expect(plain.get_by_role("heading", name="1 alert silenced now")).to_be_visible()
    plain.goto(f"{site.dashboard.url}/alerts/{alert_of(site, 'bob')['alert_id']}/notifications")
    expect(plain.locator("#alert-notifications")).to_contain_text("Hidden by a silence")
    plain.goto(f"{site.dashboard.url}/silences")
    expect(plain.get_by_text("Bob <i>tests</i> the VPN").first).to_be_visible()
    plain.get_by_role("button", name="End the silence: Bob").click()
    expect(plain.locator("#notices")).to_contain_text("The silence has ended")
    expect(plain.get_by_role("region", name="Ended", exact=True)).to_contain_text("ended by admin")


def test_an_alert_is_silenced_from_its_page(site: Platform, page: Page) -> None:
    alert = alert_of(site, "carol")
    page.goto(f"{site.dashboard.url}/alerts/{alert['alert_id']}")
    section = page.locator("#alert-notifications")
    expect(section).to_contain_text("It goes to")  # the script has loaded it
    section.get_by_role("link", name="Silence …").click()
    expect(page.locator("main").get_by_role("status")).to_contain_text(
        "It would have silenced 1 alert"
    )
    expect(page.get_by_text(f'rule="{alert["rule"]["id"]}"')).to_be_visible()
    page.get_by_label("Reason").fill("known")
    page.get_by_role("button", name="Silence").click()
    expect(page.locator("#notices")).to_contain_text("Silenced until the alert is resolved.")
    expect(page.locator("#alert-notifications")).to_contain_text("Hidden by a silence")

"""Actions on alerts in a browser, with the real services: snooze, resolve, reopen, assign."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from src.tests.dashboard.site import alert_of
from src.tests.platform import Platform

pytestmark = pytest.mark.browser


def current(site: Platform, alert: dict[str, Any]) -> dict[str, Any]:
    """The alert as the API returns it now."""
    with site.api() as api:
        found: dict[str, Any] = api.get(f"/api/v1/alerts/{alert['alert_id']}").json()
        return found


def open_alert(site: Platform, page: Page, user: str) -> dict[str, Any]:
    alert = alert_of(site, user)
    page.goto(f"{site.dashboard.url}/alerts/{alert['alert_id']}")
    return alert


def test_a_snooze_is_started_and_ended(site: Platform, page: Page) -> None:
    alert = open_alert(site, page, "carol")
    page.keyboard.press("s")
    page.keyboard.press("2")
    expect(page.locator(".alert-head")).to_contain_text("Snoozed until")
    assert current(site, alert)["snoozed_until"]
    page.get_by_role("button", name="End the snooze").click()
    expect(page.locator(".history")).to_contain_text("ended the snooze")
    expect(page.locator(".alert-head")).not_to_contain_text("Snoozed")
    assert current(site, alert)["snoozed_until"] is None


def test_a_snooze_until_escalation_is_ended_without_scripts(site: Platform, plain: Page) -> None:
    alert = open_alert(site, plain, "carol")
    plain.locator("summary").filter(has_text="Snooze").click()
    plain.get_by_role("button", name="Until it escalates").click()
    expect(plain.locator(".alert-head")).to_contain_text("Snoozed until it escalates")
    plain.get_by_role("button", name="End the snooze").click()
    expect(plain.locator("#notices")).to_contain_text("1 alert unsnoozed")
    assert not current(site, alert)["snoozed_until_escalation"]


def test_a_resolved_alert_is_reopened(site: Platform, plain: Page) -> None:
    alert = open_alert(site, plain, "bob")
    plain.locator("summary").filter(has_text="Resolve").click()
    plain.get_by_role("button", name="Benign").click()
    expect(plain.locator(".alert-head")).to_contain_text("Resolved")
    plain.get_by_role("button", name="Reopen").click()
    expect(plain.locator(".alert-head")).to_contain_text("Open")
    expect(plain.locator(".history")).to_contain_text("reopened the alert")
    found = current(site, alert)
    assert (found["status"], found["verdict"]) == ("open", None)


@pytest.mark.parametrize("form", ["identifier", "address"])
def test_the_enter_key_marks_an_alert_as_duplicate(site: Platform, page: Page, form: str) -> None:
    original = alert_of(site, "carol")["alert_id"]
    url = f"{site.dashboard.url}/alerts/{original}"
    alert = open_alert(site, page, "bob")
    page.keyboard.press("e")
    field = page.get_by_label("Duplicate of the alert")
    field.fill(original if form == "identifier" else f"{url}?events=x#events")
    field.press("Enter")
    expect(page.locator(".alert-head")).to_contain_text("Duplicate")
    assert current(site, alert)["duplicate_of"] == original
    page.get_by_role("link", name=original, exact=True).click()
    expect(page).to_have_url(url)
    open_alert(site, page, "bob")
    page.get_by_role("button", name="Reopen").click()
    expect(page.locator(".alert-head")).not_to_contain_text("Duplicate")
    assert current(site, alert)["duplicate_of"] is None


def test_an_alert_without_the_original_is_not_resolved(site: Platform, plain: Page) -> None:
    alert = open_alert(site, plain, "bob")
    plain.locator("summary").filter(has_text="Resolve").click()
    plain.get_by_role("button", name="Duplicate").click()
    expect(plain.locator("#notices")).to_contain_text("Enter the identifier")
    assert current(site, alert)["status"] == "open"


def test_an_alert_is_assigned_to_another_person(site: Platform, page: Page) -> None:
    with site.api() as api:
        api.put("/api/v1/users", params={"name": "kim <i>"}, json={"role": "analyst"})
    alert = open_alert(site, page, "carol")
    page.locator("summary").filter(has_text="Assign to …").click()
    page.get_by_label("Name of the person").fill("kimm")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("there is no user 'kimm'", ignore_case=True)
    page.locator("summary").filter(has_text="Assign to …").click()
    page.get_by_label("Name of the person").fill("kim <i>")
    page.keyboard.press("Enter")
    expect(page.locator(".alert-head")).to_contain_text("assigned to kim <i>")
    found = current(site, alert)
    assert (found["assignee"], found["status"]) == ("kim <i>", "open")
    page.get_by_role("button", name="Unassign").click()
    expect(page.locator(".alert-head")).to_contain_text("assigned to nobody")


def test_a_selection_is_snoozed_resolved_and_reopened(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/alerts")
    alerts = [alert_of(site, user) for user in ("bob", "carol")]

    def select() -> None:
        for alert in alerts:
            page.locator(f"[id='a-{alert['alert_id']}'] input[name=id]").check()

    select()
    page.keyboard.press("s")
    page.keyboard.press("1")
    expect(page.locator("#notices")).to_contain_text("2 alerts snoozed")
    select()
    page.locator("summary").filter(has_text="More …").click()
    page.get_by_role("button", name="End the snooze").click()
    expect(page.locator("#notices")).to_contain_text("2 alerts unsnoozed")
    select()
    page.keyboard.press("e")
    page.keyboard.press("b")
    expect(page.locator("#notices")).to_contain_text("2 alerts resolved: Benign")
    select()
    page.locator("summary").filter(has_text="More …").click()
    page.get_by_role("button", name="Reopen").click()
    expect(page.locator("#notices")).to_contain_text("2 alerts reopened")
    assert {current(site, alert)["status"] for alert in alerts} == {"open"}


def test_the_enter_key_in_the_comment_of_a_selection_does_nothing(
    site: Platform, page: Page
) -> None:
    page.goto(f"{site.dashboard.url}/alerts")
    alert = alert_of(site, "bob")
    page.locator(f"[id='a-{alert['alert_id']}'] input[name=id]").check()
    comment = page.locator("#bulk-comment")
    comment.fill("not finished")
    comment.press("Enter")
    page.get_by_role("button", name="Assign to me").click()  # the next action has the comment
    expect(page.locator("#notices")).to_contain_text("1 alert assigned to admin")
    found = current(site, alert)
    assert (found["status"], found["assignee"]) == ("open", "admin")

"""Rules, exclusions and the ATT&CK matrix in a browser, with the real services."""

import pytest
from playwright.sync_api import Page, expect
from src.tests.dashboard.site import BURST, alert_of
from src.tests.platform import Platform

pytestmark = pytest.mark.browser


def test_a_rule_shows_its_source_its_runbook_and_its_alerts(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/rules?q=t1110.001 burst")
    row = plain.locator(".grid tbody tr").filter(has_text="Burst of failed logins").first
    expect(row).to_contain_text("Active")
    row.get_by_role("link", name="Burst of failed logins").click()
    expect(plain.get_by_role("region", name="Sigma source")).to_contain_text("event_count")
    tests = plain.get_by_role("region", name="Tests of the rule")
    expect(tests).to_contain_text("fires: {Burst of failed logins: 1}")
    expect(plain.get_by_role("region", name="Runbook")).to_contain_text("Block the address.")
    about = plain.get_by_role("region", name="What it detects")
    expect(about).to_contain_text("A service whose password was changed")
    expect(plain.get_by_role("region", name="Last 30 days")).to_contain_text("Unresolved")


def test_the_page_of_an_alert_has_its_rule_and_runbook(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/alerts/{alert_of(site, 'alice')['alert_id']}")
    expect(page.locator("#rule-more")).to_contain_text("Block the address.")
    expect(page.locator("#rule-more pre")).to_contain_text("auditflow_failed_login")


def test_an_exclusion_is_proposed_from_false_positives(site: Platform, plain: Page) -> None:
    alert = alert_of(site, "alice")
    with site.api() as api:
        path = f"/api/v1/alerts/{alert['alert_id']}/resolve"
        answer = api.post(path, json={"verdict": "false_positive"}, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text
    plain.goto(f"{site.dashboard.url}/rules/exclusion?id={BURST}")
    expect(plain.locator("main").get_by_role("status")).to_contain_text("1 false positive")
    text = plain.get_by_role("region", name="Exclusion as YAML")
    expect(text).to_contain_text("condition: not selection")
    plain.get_by_label("User").fill("bob")
    plain.get_by_label("Host").fill("")
    plain.get_by_label("Address").fill("")
    plain.get_by_role("button", name="Preview").click()
    expect(plain.locator("main").get_by_role("status")).to_contain_text("0 false positives")
    expect(text).to_contain_text("user_id: bob")


def test_the_attack_matrix_has_rules_and_hits(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/rules/attack")
    cell = page.locator(".cell.hit").filter(has_text="T1110.001").first
    cell.locator("summary").click()
    cell.get_by_role("link", name="Burst of failed logins", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Burst of failed logins")

"""Users, tokens, the second factor and the audit trail in a browser, with the real services."""

import time

import httpx
import pyotp
import pytest
from playwright.sync_api import Page, expect
from src.tests.platform import Platform, ask

from auditflow_local.polling import eventually

pytestmark = pytest.mark.browser


def test_an_admin_adds_a_user_whose_role_limits_the_pages(site: Platform, page: Page) -> None:
    page.goto(f"{site.dashboard.url}/settings/users")
    page.get_by_label("Name, as the identity provider sends it").fill("Eve/.. <i>Adams")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#notices")).to_contain_text("Eve/.. <i>Adams has the role viewer.")
    row = page.locator(".grid tbody tr").filter(has_text="Eve/.. <i>Adams")
    expect(row.locator("td").nth(1)).to_have_text("viewer")
    row.get_by_label("Role of Eve").select_option("lead")
    row.get_by_role("button", name="Save").click()
    expect(row.locator("td").nth(1)).to_have_text("lead")
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    own = page.locator(".grid tbody tr").filter(has_text="you")
    expect(own.get_by_role("button")).to_have_count(0)


def test_a_code_is_needed_after_the_second_factor_is_enabled(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/settings/second-factor")
    plain.get_by_label("Your password").fill(site.secrets["DASHBOARD_PASSWORD"])
    plain.get_by_role("button", name="Set up").click()
    codes = pyotp.TOTP(plain.locator("#secret").inner_text().replace(" ", ""))
    used = codes.now()
    plain.get_by_label("Code of the app").fill(used)
    plain.get_by_role("button", name="Enable").click()
    recovery_code = plain.locator(".recovery-codes li").first.inner_text()
    try:
        plain.get_by_role("button", name="Sign out").click()
        plain.get_by_label("User").fill("admin")
        plain.get_by_label("Password").fill(site.secrets["DASHBOARD_PASSWORD"])
        plain.get_by_role("button", name="Sign in").click()
        plain.get_by_label("Code").fill(used)
        plain.get_by_role("button", name="Sign in").click()
        expect(plain.get_by_role("alert")).to_contain_text("used already")
        plain.get_by_label("Code").fill(codes.at(time.time() + 30))  # the next one
        plain.get_by_role("button", name="Sign in").click()
        expect(plain.get_by_role("link", name="Settings", exact=True)).to_be_visible()
        plain.goto(f"{site.dashboard.url}/settings/second-factor")
        plain.get_by_label("Code of the app, or a recovery code").fill(recovery_code)
        plain.get_by_role("button", name="Delete the second factor").click()
        expect(plain.locator("main")).to_contain_text("not enabled")
    finally:  # the other tests sign in with the password
        answer = httpx.delete(
            f"{site.notification.url}/api/v1/second-factor?name=admin",
            headers={"Authorization": f"Bearer {site.secrets['API_TOKEN']}"},
            trust_env=False,
        )
    assert answer.status_code == 404, "the user has deleted it already"


def test_a_token_is_issued_once_and_revoked(site: Platform, plain: Page) -> None:
    plain.goto(f"{site.dashboard.url}/settings/tokens")
    plain.get_by_label("Name").fill("SIEM <b>export</b>")
    plain.get_by_role("button", name="Issue").click()
    secret = plain.get_by_role("group", name="Secret").inner_text()
    answer = ask(f"{site.notification.url}/api/v1/alerts", Authorization=f"Bearer {secret}")
    assert answer.status_code == 200
    plain.goto(f"{site.dashboard.url}/settings/tokens")
    expect(plain.get_by_role("group", name="Secret")).to_have_count(0)
    plain.get_by_role("button", name="Revoke SIEM").click()
    expect(plain.locator(".grid tbody tr")).to_contain_text("revoked")
    answer = ask(f"{site.notification.url}/api/v1/alerts", Authorization=f"Bearer {secret}")
    assert answer.status_code == 401


def test_the_audit_trail_has_the_sign_in_and_its_proof(site: Platform, plain: Page) -> None:
    def shown() -> int:
        plain.goto(f"{site.dashboard.url}/audit?actor=admin&action=sign-in+accepted")
        return plain.locator(".grid tbody tr").filter(has_text="sign-in accepted").count()

    eventually(shown, what="the sign-in in the audit trail")
    plain.get_by_role("link", name="Proof").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("Proof of the audit logs")
    wrong = plain.goto(f"{site.dashboard.url}/audit?since=yesterday")
    assert wrong is not None
    assert wrong.status == 400

"""Dead letters in a browser, with the real services."""

import pytest
from playwright.sync_api import Page, expect
from src.tests.platform import Platform, waiting

from auditflow.amqp import topology
from auditflow_local.polling import eventually

pytestmark = pytest.mark.browser


def test_a_dead_letter_is_replayed_and_another_is_discarded(site: Platform, plain: Page) -> None:
    with site.broker() as channel:
        for body in (b'{"event_id": "<script>alert(1)</script>"}', b"\xff not JSON"):
            channel.basic_publish("audit", "event.test", body)
        letters = topology.QUEUES[0].dead_letters
        eventually(lambda: waiting(channel, letters) == 2, what="two dead letters")
    plain.goto(f"{site.dashboard.url}/pipeline")
    plain.get_by_role("link", name="2 dead letters of audit_events").click()
    expect(plain.locator("table tbody tr")).to_have_count(2)
    expect(plain.get_by_role("region", name="Reasons")).to_contain_text("timestamp")
    plain.locator("table tbody tr").filter(has_text="script").get_by_role("link").click()
    expect(plain.locator("pre")).to_contain_text("<script>")
    # A message that is replayed although the cause is not fixed is dead-lettered again.
    plain.get_by_role("button", name="Replay …").click()
    plain.get_by_role("button", name="Replay", exact=True).click()
    expect(plain.locator("#notices")).to_contain_text("1 dead letter replayed")
    plain.locator("table tbody tr").filter(has_text="not JSON").get_by_role("checkbox").check()
    plain.get_by_role("button", name="Discard selected").click()
    plain.get_by_label("Reason").fill("Sent by a test")
    plain.get_by_role("button", name="Discard", exact=True).click()
    expect(plain.locator("#notices")).to_contain_text("1 dead letter discarded")

    def recorded() -> int:
        plain.goto(f"{site.dashboard.url}/audit?actor=admin&action=dead+letters+discarded")
        return plain.locator(".grid tbody tr").filter(has_text="Sent by a test").count()

    eventually(recorded, what="the deletion in the audit trail")

"""Accessibility and size of all pages, with the real services."""

from typing import Any

import pytest
from playwright.sync_api import Browser
from src.tests.dashboard.site import BURST, SIZES, alert_of, open_page, violations
from src.tests.platform import Platform

pytestmark = pytest.mark.browser


#: Of a page with its scripts, styles and pictures.
MAX_PAGE_BYTES = 100_000
PAGES = [
    "/pipeline",
    "/alerts",
    "/alerts/views",
    "/pipeline/dead-letters/audit_events",
    "/settings/users",
    "/settings/tokens",
    "/audit",
    "/audit/proof",
    "/events?user=alice",
    "/events/numbers",
    "/events/detail?id=e00042",
    "/overview",
    "/entity?kind=host&value=web-01",
    "/rules",
    "/rules/attack",
    f"/rules/detail?id={BURST}",
    f"/rules/exclusion?id={BURST}&actor=bob",
    "/notifications?level=critical&environment=prod",
    "/notifications/deliveries",
    "/silences",
    "/silences/new?matchers=level%3D%22high%22&preview=1",
    "/silences/new?matchers=x&preview=1",
    "/settings",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_pages_are_accessible(
    chromium: Browser, site: Platform, scheme: Any, size: str
) -> None:
    page = open_page(chromium, site, size, color_scheme=scheme, bypass_csp=True)
    alert_id = alert_of(site, "<b>mallory</b>")["alert_id"]
    problems = []
    for path in (*PAGES, f"/alerts/{alert_id}", f"/alerts/{alert_id}/silence"):
        page.goto(site.dashboard.url + path)
        problems += [f"{path}: {text}" for text in violations(page)]
        if page.evaluate("document.documentElement.scrollWidth") > SIZES[size][0]:
            problems.append(f"{path}: wider than the screen")
    page.context.close()
    assert problems == []


def test_no_page_is_larger_than_100_kb_over_the_wire(chromium: Browser, site: Platform) -> None:
    page = open_page(chromium, site)
    sizes: list[float] = []
    session = page.context.new_cdp_session(page)
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})  # as for the first visit
    alert_id = alert_of(site, "<b>mallory</b>")["alert_id"]
    large, counted = [], 0
    for path in (*PAGES, f"/alerts/{alert_id}", f"/alerts/{alert_id}/silence", "/settings"):
        sizes.clear()
        page.goto(site.dashboard.url + path, wait_until="load")
        counted += len(sizes)
        if sum(sizes) > MAX_PAGE_BYTES:
            large.append(f"{path}: {sum(sizes):,.0f} bytes")
    page.context.close()
    assert counted > 5 * len(PAGES), "scripts and styles are not counted"
    assert large == []

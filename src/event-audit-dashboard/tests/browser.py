"""A monitored page in Chromium, and checks of pages."""

import datetime as dt
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from src.tests.chromium import new_page

from .fake_api import alert, stamp

PASSWORD = "correct horse battery staple"
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
#: Links in a sentence may be smaller. The label of a checkbox belongs to its target.
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, select, summary, textarea")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => !element.closest("dialog, .out-of-sight, .skip, [tabindex='-1'], svg"))
  .filter((element) => getComputedStyle(element).display !== "inline")
  .filter((element) => {
    const box = (element.closest("label") ?? element).getBoundingClientRect();
    return box.width && (box.width < 23.9 || box.height < 23.9);
  })
  .map((element) => element.outerHTML.slice(0, 150))"""
INVISIBLE_STOPS = """() => [...document.querySelectorAll("a, button, input, select, summary, textarea, [tabindex]")]
  .filter((element) => element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => {
    const box = element.getBoundingClientRect();
    const hidden = element.closest(".out-of-sight, [aria-hidden=true]");
    return hidden || box.width < 2 || box.height < 2 || getComputedStyle(element).opacity === "0";
  })
  .map((element) => element.outerHTML.slice(0, 150))"""


class MonitoredPage:
    """A page with the errors and warnings of its browser console."""

    def __init__(self, browser: Browser, size: tuple[int, int], **context: Any) -> None:
        self.width = size[0]
        viewport = {"width": size[0], "height": size[1]}
        self.page = new_page(browser, viewport=viewport, **context)
        self.context = self.page.context
        self.page.clock.install()
        self.errors: list[str] = []
        self.page.on("console", self._record)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _record(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.text} {message.location['url']}")

    def sign_in(self, site: str, path: str = "/alerts") -> None:
        self.page.goto(site + path)
        self.page.get_by_label("User").fill("admin")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(site + path)
        if not path.startswith("/login"):
            expect(self.page.locator("#live-words")).to_contain_text("Live")  # scripts have started

    def next_update(self) -> None:
        """Advance the clock to the next update of the live list."""
        self.page.clock.fast_forward(5000)

    def check(self) -> None:
        """Assert that the page does not overflow and the console has no errors."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.errors == []


def newest(now: dt.datetime, **fields: Any) -> dict[str, Any]:
    return alert(5000, now=now, first_seen=stamp(now), last_seen=stamp(now), **fields)


def opened(many: Any) -> list[dict[str, Any]]:
    return [item for item in many.alerts if item["status"] == "open"]


def small_targets(page: Page) -> list[str]:
    """Visible controls that are smaller than 24 px, and tab stops that cannot be seen."""
    return [
        *(f"target: {text}" for text in page.evaluate(SMALL_TARGETS)),
        *(f"invisible tab stop: {text}" for text in page.evaluate(INVISIBLE_STOPS)),
    ]


def violations(page: Page) -> list[str]:
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]

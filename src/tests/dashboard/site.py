"""A platform with a routing file, an archive and alerts, and helpers for its pages."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from src.tests.archive_server import archive_server
from src.tests.archived_events import archived
from src.tests.chromium import new_page
from src.tests.events import failed_login, file_change
from src.tests.platform import Platform

from audit_analysis.archive.table import ArchivedEvent
from auditflow_local import ports
from auditflow_local.polling import eventually
from auditflow_local.servers.inbox import InboxServer

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
#: The id of the rule "Burst of failed logins".
BURST = "3f0c2a52-7e0f-4d53-8f4e-0d0f5f1f9a01"
#: Alice is on call; alerts of password guessing also go to a receiver that refuses everything.
ROUTES = """\
route:
  receiver: inbox
  group_by: ['...']
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 4h
  routes:
  - matchers: ['tags=~".*attack.t1110.*"']
    receiver: refuses
    continue: true
  - matchers: ['level=~"critical|high"']
    receiver: on-duty
    routes:
    - {matchers: ['environment="prod"'], receiver: inbox, remind_after: 30m}
schedules:
- {name: week, file: week.ics, people: {Alice: inbox}}
receivers:
- {name: inbox, webhook: {url_secret: INBOX_URL, key_secret: INBOX_KEY}}
- {name: refuses, max_attempts: 1, webhook: {url_secret: REFUSING_URL, key_secret: INBOX_KEY}}
- {name: on-duty, on_call: {schedule: week, fallback: inbox}}
"""
CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//AuditFlow//Test//EN
BEGIN:VEVENT
UID:shift
DTSTAMP:20200101T000000Z
DTSTART:20200101T000000Z
DTEND:20990101T000000Z
SUMMARY:Alice
END:VEVENT
END:VCALENDAR
"""


def serve(
    platform: Platform, archive_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    for service in platform.services:
        service.start()
    platform.begin()
    for user in ("alice", "bob", "carol", "<b>mallory</b>"):
        platform.send([failed_login(f"{user}-{n}", user, at=n) for n in range(4)])
    platform.send([file_change("passwd", "/etc/passwd")])
    eventually(lambda: len(platform.alerts()) == 5, what="five alerts")
    with archive_server(
        tmp_path_factory.mktemp("archive"),
        _archived_events(),
        port=archive_port,
        api_url=platform.notification.url,
    ):
        yield platform


def _archived_events() -> list[ArchivedEvent]:
    """120 events of the last two hours, one minute apart, of which every third failed."""
    now_ms = int(time.time() * 1000)
    return [
        archived(
            number,
            at_ms=now_ms - (120 - number) * 60_000,
            user=("alice", "<b>mallory</b>")[number % 2],
            action_result=("FAILURE", "SUCCESS", "SUCCESS")[number % 3],
        )
        for number in range(120)
    ]


def make_inbox(folder: Path) -> InboxServer:
    inbox = InboxServer(
        folder / "inbox",
        port=ports.pick(),
        key="k" * 40,
        routes=folder / "routes",
        receiver_secrets=folder / "secrets",
        log=folder / "inbox.log",
    )
    inbox.prepare()
    inbox.routes_file.write_text(ROUTES, "utf-8")
    (inbox.routes_file.parent / "week.ics").write_text(CALENDAR.replace("\n", "\r\n"), "utf-8")
    # No path of the inbox has this name: it answers 404, which is final.
    refusing = f"http://127.0.0.1:{inbox.port}/no-such-path\n"
    (inbox.receiver_secrets / "REFUSING_URL").write_text(refusing, "utf-8")
    return inbox


def open_page(chromium: Browser, site: Platform, size: str = "desk", **options: Any) -> Page:
    """A page of a user who has signed in."""
    width, height = SIZES[size]
    page = new_page(chromium, viewport={"width": width, "height": height}, **options)
    page.goto(f"{site.dashboard.url}/login?next=/settings")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(site.secrets["DASHBOARD_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    return page


def alert_of(site: Platform, user: str) -> dict[str, Any]:
    return next(alert for alert in site.alerts() if alert["actor"] == user)


def violations(page: Page) -> list[str]:
    """What axe finds, of WCAG 2.2 AA."""
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]

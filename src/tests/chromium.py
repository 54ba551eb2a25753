"""Chromium for tests. All its waits have the limit of the waits of tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, Page, expect, sync_playwright

from auditflow_local.polling import WAIT_SECONDS

CHROMIUM: Final = "/usr/bin/chromium"
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_WAIT_MS: Final = WAIT_SECONDS * 1000


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start Chromium, and stop it at the end."""
    assert shutil.which("chromium"), "Chromium is missing: `make test` installs it"
    expect.set_options(timeout=_WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        yield browser
        browser.close()


def new_page(browser: Browser, **options: Any) -> Page:
    """A page in a context of its own, in UTC. ``options`` are those of the context."""
    context = browser.new_context(**{"timezone_id": "UTC", **options})
    context.set_default_timeout(_WAIT_MS)
    return context.new_page()

"""A platform and a browser for the tests of the dashboard, shared by all tests of this folder."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from src.tests.chromium import open_chromium
from src.tests.conftest import make_platform
from src.tests.dashboard.site import make_inbox, open_page, serve
from src.tests.platform import Platform

from auditflow_local import ports
from auditflow_local.testing import Servers


@pytest.fixture(scope="package")
def site(
    other_servers: Servers,
    shared_platform: Platform,
    shared_service_process: Any,
    service_secrets: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """The platform with a routing file, a receiver that accepts, and alerts of four users."""
    for service in shared_platform.services:
        service.stop()  # or they would take the messages of this one
    other_servers.redis.flush()
    folder = tmp_path_factory.mktemp("routes")
    inbox = make_inbox(folder)
    inbox.start()
    archive_port = ports.pick()
    platform = make_platform(
        shared_service_process,
        service_secrets,
        other_servers,
        notification_env=inbox.variables("http://localhost"),
        dashboard_env={"EVENTS_API_HOST": "127.0.0.1", "EVENTS_API_PORT": str(archive_port)},
    )
    try:
        yield from serve(platform, archive_port, tmp_path_factory)
    finally:  # or they would take the messages of the other platform
        for service in reversed(platform.services):
            service.stop()
        inbox.destroy()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, site: Platform) -> Iterator[Page]:
    """A page whose console must stay empty."""
    page = open_page(chromium, site)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    yield page
    page.context.close()
    assert problems == []


@pytest.fixture
def plain(chromium: Browser, site: Platform) -> Iterator[Page]:
    """A page without JavaScript."""
    page = open_page(chromium, site, "phone", java_script_enabled=False)
    yield page
    page.context.close()

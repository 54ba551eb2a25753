"""A dashboard served by Hypercorn in front of a fake notification service."""

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from flask import Flask
from playwright.sync_api import Browser
from prometheus_client import CollectorRegistry
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from src.tests.chromium import open_chromium
from werkzeug.test import TestResponse

from auditflow.http.health import Health
from auditflow_local import ports
from auditflow_local.polling import eventually
from event_audit_dashboard import app as application
from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.apis.events import EVENTS
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.rules import ANALYSIS
from event_audit_dashboard.apis.transport import Transport
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.settings import DashboardSettings

from .browser import PASSWORD, SIZES, MonitoredPage
from .fake_api import TOKEN, FakeApi, alert, hostile


@pytest.fixture
def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def fake_api() -> Iterator[FakeApi]:
    server = FakeApi()
    yield server
    server.stop()


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    """The fake API without alerts."""
    fake_api.reset()
    return fake_api


@pytest.fixture
def many(api: FakeApi, now: dt.datetime) -> FakeApi:
    """The fake API with 120 alerts."""
    api.alerts = [alert(number, now=now) for number in range(120)]
    return api


@pytest.fixture
def attacked(api: FakeApi, now: dt.datetime) -> FakeApi:
    """The fake API with hostile alerts only."""
    api.alerts = hostile(now)
    return api


def environment(port: int) -> dict[str, str]:
    return {
        "HOST": "127.0.0.1",
        "NOTIFICATION_SERVICE_HOST": "127.0.0.1",
        "NOTIFICATION_SERVICE_PORT": str(port),
        "ANALYSIS_HOST": "127.0.0.1",
        "ANALYSIS_PORT": str(port),
        "API_TOKEN": TOKEN,
        "DASHBOARD_PASSWORD": PASSWORD,
        "SESSION_SECRET": "s" * 40,
    }


def dashboard_client(server: Any) -> "Redis":
    """A client with the permissions of the dashboard."""
    name = "event-audit-dashboard"
    return Redis(
        host=server.host,
        port=server.port,
        username=name,
        password=server.password_of(name),
        retry=Retry(NoBackoff(), 0),
    )


@pytest.fixture
def redis_of_the_dashboard(redis_server: Any) -> Iterator["Redis"]:
    """A client of an empty Redis, with the permissions of the dashboard."""
    redis_server.flush()
    with dashboard_client(redis_server) as client:
        yield client


@pytest.fixture
def make(api: FakeApi) -> Iterator[Any]:
    """Creates applications with changed settings."""
    clients: list[ApiClient] = []

    def build(
        redis: Any = None, reports: Any = None, with_archive: bool = False, **changes: Any
    ) -> Flask:
        given = {name.lower(): value for name, value in environment(api.port).items()}
        settings = DashboardSettings(**{**given, **changes})
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        transport = Transport(
            settings.notification_service_host,
            settings.notification_service_port,
            token=settings.api_token.get_secret_value(),
        )
        client = NotificationService(transport, metrics=metrics)
        analysis = ApiClient(
            Transport(settings.analysis_host, settings.analysis_port, service=ANALYSIS),
            metrics=metrics,
        )
        clients.extend((client, analysis))
        events = None
        if with_archive:
            where = Transport("127.0.0.1", api.port, token=TOKEN, service=EVENTS)
            events = ApiClient(where, metrics=metrics)
            clients.append(events)
        health = Health({"notification-service": client.check})
        return application.create(
            settings,
            api=client,
            analysis=analysis,
            health=health,
            registry=registry,
            metrics=metrics,
            events=events,
            client=redis,
            reports=reports,
        )

    yield build
    for client in clients:
        client.close()


@pytest.fixture
def dashboard(make: Any) -> Flask:
    return make()


class User:
    """A browser without JavaScript."""

    def __init__(self, app: Flask) -> None:
        self.http = app.test_client()

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.http.get(path, **rest)

    def token(self, path: str = "/login") -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def sign_in(
        self, user: str = "admin", password: str = PASSWORD, *, path: str = "/login", **rest: Any
    ) -> TestResponse:
        data = {"user": user, "password": password, "csrf_token": self.token()}
        return self.http.post(path, data=data, **rest)


@pytest.fixture
def user() -> type[User]:
    return User


@pytest.fixture
def stranger(dashboard: Flask) -> User:
    return User(dashboard)


@pytest.fixture
def analyst(dashboard: Flask) -> User:
    user = User(dashboard)
    assert user.sign_in().status_code == 303
    return user


@pytest.fixture(scope="module")
def site(fake_api: FakeApi) -> Iterator[str]:
    """The URL of the dashboard, in its own process."""
    port = ports.pick()
    program = "from event_audit_dashboard.main import main; main()"
    settings = {**os.environ, **environment(fake_api.port), "PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", program], env=settings) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address, process)
            yield address
        finally:
            process.terminate()
            assert process.wait(60) == 0, "the process did not stop cleanly"


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    def is_ready() -> bool:
        assert process.poll() is None, "the dashboard ended"
        try:
            answer = httpx.get(f"{address}/readyz", trust_env=False, verify=False, timeout=60)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    eventually(is_ready, what="the dashboard")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def monitored(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[MonitoredPage]:
    monitored = MonitoredPage(chromium, request.param)
    yield monitored
    monitored.context.close()


@pytest.fixture
def desk(chromium: Browser) -> Iterator[MonitoredPage]:
    monitored = MonitoredPage(chromium, SIZES["desk"])
    yield monitored
    monitored.context.close()

"""The services with the restrictions of their pods: any user, and only an empty /tmp is writable."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auditflow_local.polling import eventually
from auditflow_local.service_process import ServiceProcess
from auditflow_local.testing import Servers
from auditflow_local.testing_pod import USER, VOLUME, as_in_a_pod, unsupported_reason

from .conftest import make_platform
from .events import alert_keys, alerts_of, attack_events
from .platform import Platform, ask


@pytest.fixture
def confined(
    other_servers: Servers,
    shared_platform: Platform,
    service_process: Any,
    service_secrets: dict[str, str],
) -> Platform:
    """A platform of the test's own, confined."""
    if reason := unsupported_reason():
        pytest.skip(reason)
    for service in shared_platform.services:
        service.stop()  # or they would take what is meant for this one
    other_servers.redis.flush()
    start = partial(service_process, confine=as_in_a_pod)
    return make_platform(start, service_secrets, other_servers)


def process(service: ServiceProcess, file: str) -> str:
    return Path(f"/proc/{service.pid}/{file}").read_text()


def writable(service: ServiceProcess) -> set[str]:
    """The writable mounts, without those of the kernel."""
    mounts = [line.split() for line in process(service, "mountinfo").splitlines()]
    return {
        mount_point
        for _, _, _, _, mount_point, options, *_ in mounts
        if "ro" not in options.split(",") and not mount_point.startswith(("/proc", "/sys", "/dev"))
    }


def test_they_need_no_user_of_their_own_and_write_nowhere(confined: Platform) -> None:
    # Given the services, as a user that the machine does not know, on a read-only file system
    services = (
        confined.notification, confined.archive, confined.analysis, confined.generator,
        confined.dashboard,
    )  # fmt: skip
    for service in services:
        service.start()
    for service in services:
        ids = dict(line.split(":", 1) for line in process(service, "status").splitlines())
        assert set(ids["Uid"].split()) == set(ids["Gid"].split()) == {str(USER)}, service.name
        volume = {VOLUME} if service is confined.archive else set()
        assert writable(service) == {"/tmp"} | volume, service.name
    # when events come in, then the alerts are there, and on a page
    confined.send(attack_events(3))
    eventually(lambda: alert_keys(confined.alerts()) == alerts_of(3), what="every alert")
    with confined.analyst() as browser:
        assert "Burst of failed logins" in browser.get("/alerts").text
    # and in the archive, also as a Parquet file, which needs temporary files
    with confined.archived() as archive:
        eventually(
            lambda: archive.get("/api/v1/events").raise_for_status().json()["events"],
            what="archived events",
        )
        exported = archive.get("/api/v1/events/export", params={"format": "parquet"})
        assert exported.raise_for_status().content.startswith(b"PAR1")
    assert ask(f"{confined.dashboard.url}/readyz").json()["status"] == "ready"
    # and they end in order
    for service in services:
        service.stop()
        assert service.exit_code == 0, service.name

"""The images as pods run them: as any user, on a read-only file system, without capabilities.

The tests use the images of `make images`, and are skipped without them.
"""

import stat
from pathlib import PurePosixPath

import pytest

from auditflow_local.servers.rabbitmq import RabbitMQ

from .containers import AWAIT_SCHEMA, SERVICES, Containers, image
from .engine import Engine

#: Unpacked, of the 120 MB that an image may have: the base's next version may be a bit larger.
MOST_BYTES = 116_000_000
#: The image of the analysis also contains the archive, with DuckDB.
ARCHIVE_BYTES = 220_000_000

every_service = pytest.mark.parametrize("service", SERVICES)


@every_service
def test_it_is_small_and_holds_nothing_to_break_out_with(engine: Engine, service: str) -> None:
    with engine.files(image(service)) as archive:
        files = list(archive)
    limit = ARCHIVE_BYTES if service == "audit-log-analysis" else MOST_BYTES
    assert sum(file.size for file in files) < limit
    programs = {
        PurePosixPath(file.name).name
        for file in files
        if PurePosixPath(file.name).parent.name in {"bin", "sbin"}
    }
    assert service in programs
    assert not programs & {
        *("sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "pip", "pip3", "uv"),
        *("cc", "gcc", "ld", "curl", "wget", "su", "mount"),
    }
    assert [file.name for file in files if file.mode & (stat.S_ISUID | stat.S_ISGID)] == []
    writable = [
        file.name for file in files if (file.isfile() or file.isdir()) and file.mode & stat.S_IWOTH
    ]
    assert [name.strip("./") for name in writable] == ["tmp"]


@every_service
def test_it_reports_its_name_and_version(engine: Engine, service: str) -> None:
    config = engine.config(image(service))
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/app/bin/service"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == service
    revision = labels["org.opencontainers.image.revision"]
    assert f"AUDITFLOW_REVISION={revision}" in config["Env"]


@every_service
def test_all_that_is_in_it_can_be_loaded(engine: Engine, service: str) -> None:
    """Libraries that a wheel links to, and modules that were left out, show here."""
    module = {"audit-log-analysis": "audit_analysis"}.get(service, service.replace("-", "_"))
    program = f"""
import importlib, pkgutil
for package in ("auditflow", "{module}"):
    for one in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{{package}}."):
        if not one.name.endswith("__main__") and ".migrations." not in one.name:
            importlib.import_module(one.name)
            print(one.name)
"""
    loaded = engine.run(image(service), "/app/bin/python3", "-P", "-c", program).split()
    assert f"{module}.main" in loaded


@every_service
def test_its_commands_run(engine: Engine, service: str, rabbitmq: RabbitMQ) -> None:
    here = image(service)
    schemas = engine.run(here, "auditflow", "schemas", "show", "event.schema.json")
    assert "event_id" in schemas
    letters = engine.run(
        *(here, "auditflow", "dlq", "list"),
        env={
            "RABBITMQ_HOST": rabbitmq.host,
            "RABBITMQ_PORT": str(rabbitmq.port),
            "RABBITMQ_VHOST": rabbitmq.vhost,
            "RABBITMQ_USER": "auditflow-operator",
            "RABBITMQ_PASS": rabbitmq.password_of("auditflow-operator"),
        },
    )
    assert "audit_events" in letters


def test_the_rules_in_the_image_are_complete(engine: Engine) -> None:
    here = image("audit-log-analysis")
    listed = engine.run(here, "auditflow", "rules", "list")
    assert "Burst of failed Okta logins" in listed
    assert "T1110" in engine.run(here, "auditflow", "rules", "coverage")


def test_the_services_run_together_and_end_on_request(containers: Containers) -> None:
    """In the order of a roll-out: the schema, then who waits for it, then who serves."""
    containers.run("notification-service", "notification-service-migrate")
    waited = containers.run("notification-service", AWAIT_SCHEMA)
    assert "the schema is up to date" in waited
    for service in SERVICES:
        containers.start(service)
    for service in SERVICES:
        containers.wait_until_ready(service)
    for service in reversed(SERVICES):
        assert containers.stop(service) == 0, containers.log(service)

"""The cost of hot paths. A cost that is 10 % higher than the measured one fails.

The cost is the number of executed instructions, as a ratio to minimal work in the same process.
If a change makes a path cheaper, enter the new figure, so that the next regression is found.
"""

import logging
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from pydantic import SecretStr

from auditflow_local import cost, packages
from auditflow_local.servers.postgres_roles import APP, OWNER
from notification_service.migrate import MigrateSettings, migrate

from . import costs

#: A program that counts instructions is much slower than normal.
pytestmark = [pytest.mark.soak, pytest.mark.computes, pytest.mark.timeout(1200)]
_PROGRAM: Final = "src.tests.costs"
#: The permitted increase of a cost.
_INSTRUCTIONS: Final = 1.1
_CPU_TIME: Final = 1.5


class Figures(NamedTuple):
    """Measured ratios, in instructions and in CPU time."""

    instructions: float
    #: None if it was not measured.
    cpu_time: float | None = None


def check(figures: Figures, *arguments: str) -> None:
    packages.ensure(packages.VALGRIND)
    measured = cost.run(_PROGRAM, *arguments)
    logging.getLogger(__name__).info("%s: %.3f", " ".join(arguments[:2]), measured.ratio)
    if measured.counts_instructions:
        assert measured.ratio < figures.instructions * _INSTRUCTIONS
    elif figures.cpu_time is None:
        pytest.skip("without Valgrind, this cost has no figure to compare with")
    else:
        assert measured.ratio < figures.cpu_time * _CPU_TIME


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("logins", Figures(10.4, 25)),
        ("logins in batches", Figures(10.4, 25)),
        ("no logins", Figures(6.4, 12)),
        ("quiet", Figures(8.0, 19)),
        ("kubernetes", Figures(20.0, 36)),
    ],
)
def test_an_event(make_redis: Any, tmp_path: Path, name: str, figures: Figures) -> None:
    check(figures, "event", name, make_redis(tmp_path).url)


@pytest.fixture
def database(postgres: Any) -> Any:
    """An empty, migrated database."""
    fresh = postgres.fresh_database()
    migrate(
        MigrateSettings(
            pg_host=postgres.host,
            pg_port=postgres.port,
            pg_db=fresh.name,
            pg_user=OWNER,
            pg_password=SecretStr(postgres.password_of(OWNER)),
        ),
        report=lambda _: None,
    )
    return fresh


@pytest.fixture
def settings(postgres: Any, database: Any) -> str:
    """The ``PostgresSettings`` of the service as JSON."""
    fields = {
        "pg_host": postgres.host,
        "pg_port": postgres.port,
        "pg_db": database.name,
        "pg_user": APP,
        "pg_password": postgres.password_of(APP),
    }
    return msgspec.json.encode(fields).decode()


def test_a_finding(settings: str) -> None:
    check(Figures(26, 50), "finding", settings)


@pytest.mark.parametrize(
    ("path", "figures"),
    [
        ("/api/v1/alerts?limit=50", Figures(1.66, 5.4)),
        ("/api/v1/alerts/{}", Figures(1.28, 4.2)),
    ],
)
def test_a_request(settings: str, path: str, figures: Figures) -> None:
    check(figures, "request", path, settings)


@pytest.mark.parametrize(
    ("path", "figures"),
    [("/alerts", Figures(4.85)), ("/alerts/{}", Figures(4.49))],
)
def test_a_page(
    service_process: Any,
    service_secrets: dict[str, str],
    database: Any,
    settings: str,
    rabbitmq: Any,
    path: str,
    figures: Figures,
) -> None:
    costs.store_alerts(settings)
    service = service_process("notification-service", rabbitmq=rabbitmq, database=database)
    token = service_secrets["API_TOKEN"]
    check(figures, "page", path, service.host, str(service.port), token)

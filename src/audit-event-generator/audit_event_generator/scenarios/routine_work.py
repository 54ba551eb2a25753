"""Routine work of people and machines: the benign events between attacks."""

import datetime as dt
import random
from collections.abc import Callable
from typing import Final

from audit_event_generator.scenarios import company, event_templates
from audit_event_generator.scenarios.company import EventTemplate

_COMMANDS: Final = (
    "systemctl status nginx", "journalctl -u billing-api -n 200", "apt-get update",
    "tail -n 100 /var/log/syslog", "docker ps", "df -h", "systemctl reload nginx",
    "lsof -i :8443", "certbot renew --dry-run",
)  # fmt: skip
_FILES: Final = (
    "/srv/app/config/features.yaml", "/srv/www/index.html", "/srv/reports/weekly.csv",
    "/var/lib/billing/queue.db", "/var/www/assets/main.css", "/srv/app/translations/fr.json",
    "/var/spool/cron/reports", "/srv/docs/handbook.md",
)  # fmt: skip
_JOBS: Final = (
    ("backup", "/usr/local/bin/backup --incremental", "/var/backups/incremental.tar.zst"),
    ("logrotate", "/usr/sbin/logrotate /srv/ops/logrotate.conf", "/var/log/app/access.log.1"),
    ("reports", "/srv/reports/build --daily", "/srv/reports/daily.csv"),
)


def sign_in(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """A user logs in to one of their hosts."""
    person = company.choose_person(rng, now)
    return [event_templates.login(rng, person.name, rng.choice(person.hosts), person.desk)]


def mistyped_sign_in(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """A user mistypes the password once or twice, and then logs in."""
    person = company.choose_person(rng, now)
    host = rng.choice(person.hosts)
    typos = rng.choice((1, 1, 1, 2))
    failures = [
        event_templates.login(rng, person.name, host, person.desk, reason="invalid_password")
        for _ in range(typos)
    ]
    return [*failures, event_templates.login(rng, person.name, host, person.desk)]


def maintenance(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """A user runs maintenance commands on a host."""
    person = company.choose_person(rng, now)
    host = rng.choice(person.hosts)
    commands = rng.sample(_COMMANDS, rng.randint(1, 3))
    return [event_templates.sudo(rng, person.name, host, command) for command in commands]


def editing(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """A user changes application files."""
    person = company.choose_person(rng, now)
    host = rng.choice(person.hosts)
    paths = rng.sample(_FILES, rng.randint(1, 2))
    return [event_templates.file_modified(rng, person.name, host, path) for path in paths]


def deployment(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """The pipeline deploys a new version to the application hosts in turn."""
    del now
    version = f"2.{rng.randint(1, 40)}.{rng.randint(0, 9)}"
    steps: list[EventTemplate] = []
    for host in ("app-01", "app-02"):
        steps += [
            event_templates.login(rng, "deploy", host, "10.20.9.2"),
            event_templates.file_modified(
                rng, "deploy", host, f"/srv/billing-api/releases/{version}"
            ),
            event_templates.service("deploy", host, "billing-api", "STOPPED"),
            event_templates.service("deploy", host, "billing-api", "STARTED"),
        ]
    return steps


def scheduled_job(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """cron runs a job."""
    del now
    name, command, path = rng.choice(_JOBS)
    host = rng.choice(company.HOSTS)
    return [
        event_templates.sudo(rng, f"svc-{name}", host, command),
        event_templates.file_modified(rng, f"svc-{name}", host, path),
    ]


def restart(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """An administrator restarts an application."""
    person = rng.choice(company.ADMINS)
    del now
    host, name = rng.choice(person.hosts), rng.choice(company.APPLICATIONS)
    return [
        event_templates.sudo(rng, person.name, host, f"systemctl restart {name}"),
        event_templates.service(person.name, host, name, "STOPPED"),
        event_templates.service(person.name, host, name, "STARTED"),
    ]


def file_share(rng: random.Random, now: dt.datetime) -> list[EventTemplate]:
    """A user copies a file to the internal file server."""
    person = company.choose_person(rng, now)
    size = rng.randint(20_000, 40_000_000)
    host = rng.choice(person.hosts)
    path = rng.choice(_FILES)
    return [event_templates.transfer(person.name, host, path, "10.20.5.5", size, external=False)]


#: Returns the events of one activity, given the time.
Activity = Callable[[random.Random, dt.datetime], list[EventTemplate]]

#: Kinds of routine work and their weights.
ACTIVITIES: Final[tuple[tuple[Activity, int], ...]] = (
    (sign_in, 30), (maintenance, 18), (editing, 18), (scheduled_job, 12), (mistyped_sign_in, 5),
    (file_share, 6), (restart, 4), (deployment, 3),
)  # fmt: skip

"""What people and machines do all day: the noise in which an attack must be found."""

import datetime as dt
import random
from collections.abc import Callable
from typing import Final

from audit_event_generator.scenarios import events, world
from audit_event_generator.scenarios.world import Step

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


def sign_in(rng: random.Random, now: dt.datetime) -> list[Step]:
    """Somebody begins to work on one of their hosts."""
    person = world.somebody(rng, now)
    return [events.login(rng, person.name, rng.choice(person.hosts), person.desk)]


def mistyped_sign_in(rng: random.Random, now: dt.datetime) -> list[Step]:
    """An honest typo: a failure or two from one's own desk, then it works."""
    person = world.somebody(rng, now)
    host = rng.choice(person.hosts)
    typos = rng.choice((1, 1, 1, 2))
    failures = [
        events.login(rng, person.name, host, person.desk, reason="invalid_password")
        for _ in range(typos)
    ]
    return [*failures, events.login(rng, person.name, host, person.desk)]


def maintenance(rng: random.Random, now: dt.datetime) -> list[Step]:
    """An administrator looks after a host."""
    person = world.somebody(rng, now)
    host = rng.choice(person.hosts)
    commands = rng.sample(_COMMANDS, rng.randint(1, 3))
    return [events.sudo(rng, person.name, host, command) for command in commands]


def editing(rng: random.Random, now: dt.datetime) -> list[Step]:
    """Somebody changes files that are theirs to change."""
    person = world.somebody(rng, now)
    host = rng.choice(person.hosts)
    paths = rng.sample(_FILES, rng.randint(1, 2))
    return [events.file_modified(rng, person.name, host, path) for path in paths]


def deployment(rng: random.Random, now: dt.datetime) -> list[Step]:
    """The pipeline puts a new version on the application hosts, one after the other."""
    del now
    version = f"2.{rng.randint(1, 40)}.{rng.randint(0, 9)}"
    steps: list[Step] = []
    for host in ("app-01", "app-02"):
        steps += [
            events.login(rng, "deploy", host, "10.20.9.2"),
            events.file_modified(rng, "deploy", host, f"/srv/billing-api/releases/{version}"),
            events.service("deploy", host, "billing-api", "STOPPED"),
            events.service("deploy", host, "billing-api", "STARTED"),
        ]
    return steps


def scheduled_job(rng: random.Random, now: dt.datetime) -> list[Step]:
    """cron does what it does every hour."""
    del now
    name, command, path = rng.choice(_JOBS)
    host = rng.choice(world.HOSTS)
    return [
        events.sudo(rng, f"svc-{name}", host, command),
        events.file_modified(rng, f"svc-{name}", host, path),
    ]


def restart(rng: random.Random, now: dt.datetime) -> list[Step]:
    """An application is restarted, on purpose."""
    person = rng.choice(world.ADMINS)
    del now
    host, name = rng.choice(person.hosts), rng.choice(world.APPLICATIONS)
    return [
        events.sudo(rng, person.name, host, f"systemctl restart {name}"),
        events.service(person.name, host, name, "STOPPED"),
        events.service(person.name, host, name, "STARTED"),
    ]


def file_share(rng: random.Random, now: dt.datetime) -> list[Step]:
    """A copy to the file server inside the house."""
    person = world.somebody(rng, now)
    size = rng.randint(20_000, 40_000_000)
    host = rng.choice(person.hosts)
    path = rng.choice(_FILES)
    return [events.transfer(person.name, host, path, "10.20.5.5", size, outside=False)]


#: How often each comes, by weight.
HABITS: Final[tuple[tuple[Callable[[random.Random, dt.datetime], list[Step]], int], ...]] = (
    (sign_in, 30), (maintenance, 18), (editing, 18), (scheduled_job, 12), (mistyped_sign_in, 5),
    (file_share, 6), (restart, 4), (deployment, 3),
)  # fmt: skip

"""The people and hosts of the synthetic company. The addresses are reserved for documentation."""

import datetime as dt
import random
from typing import Final

from msgspec import Struct

from auditflow.contract.event import Severity


class Person(Struct, frozen=True):
    """A user with an address (``desk``), hosts, and hours of work (from and to, UTC)."""

    name: str
    desk: str
    hosts: tuple[str, ...]
    hours: tuple[int, int] = (7, 17)
    admin: bool = False

    def works_at(self, time: dt.datetime) -> bool:
        """Whether the time is in working hours. Administrators also work on weekends."""
        start, end = self.hours
        inside = (time.hour - start) % 24 < (end - start) % 24
        return inside and (self.admin or time.weekday() < 5)


class EventTemplate(Struct, frozen=True, kw_only=True):
    """An event without a timestamp. ``delay_events`` benign events come before it."""

    event_type: str
    action_result: str
    source_service: str
    host: str
    user: str | None = None
    ip: str | None = None
    resource: str | None = None
    severity: Severity = Severity.INFO
    details: dict[str, str | int] = {}
    delay_events: int = 0


PEOPLE: Final = (
    Person("amina.diallo", "10.20.1.11", ("web-01", "web-02"), (6, 15)),
    Person("ben.fischer", "10.20.1.12", ("app-01", "app-02", "ci-01")),
    Person("chiara.rossi", "10.20.1.13", ("db-01", "db-02"), (7, 16), admin=True),
    Person("dmitri.volkov", "10.20.1.14", ("app-01", "files-01")),
    Person("elena.petrova", "10.20.1.15", ("web-01", "app-02"), (8, 18)),
    Person("farid.haddad", "10.20.1.16", ("bastion-01", "web-02", "db-01"), (19, 5), admin=True),
    Person("grace.okafor", "10.20.2.21", ("files-01", "mail-01"), (7, 15)),
    Person("hiro.tanaka", "10.20.2.22", ("ci-01", "app-01"), (0, 9)),
    Person("ines.moreau", "10.20.2.23", ("mail-01", "files-01"), (8, 17)),
    Person("jonas.lind", "10.20.2.24", ("bastion-01", "app-02", "ci-01"), (11, 21), admin=True),
)
ADMINS: Final = tuple(person for person in PEOPLE if person.admin)
HOSTS: Final = tuple(sorted({host for person in PEOPLE for host in person.hosts}))
#: Addresses of attackers: TEST-NET-2 and TEST-NET-3.
EXTERNAL_ADDRESSES: Final = tuple(f"198.51.100.{n}" for n in (7, 23, 77, 140)) + tuple(
    f"203.0.113.{n}" for n in (5, 66, 99, 201)
)
SECURITY_SERVICES: Final = ("auditd", "falco", "fail2ban", "osqueryd", "wazuh-agent")
APPLICATIONS: Final = ("nginx", "billing-api", "postgresql", "redis-server", "postfix")


def choose_person(rng: random.Random, time: dt.datetime) -> Person:
    """Choose a person. Those in working hours are 20 times as likely."""
    weights = [20 if person.works_at(time) else 1 for person in PEOPLE]
    return rng.choices(PEOPLE, weights)[0]


def checksum(rng: random.Random) -> str:
    """Return a random checksum in the format of a file integrity monitor."""
    return f"sha256:{rng.getrandbits(256):064x}"

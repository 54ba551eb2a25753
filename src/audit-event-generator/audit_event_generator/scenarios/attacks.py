"""The bad days. Each scenario is one attack from its first event to its last."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from audit_event_generator.scenarios import events, world
from audit_event_generator.scenarios.world import Step
from auditflow.contract.event import Severity

_SENSITIVE: Final = ("/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/ssh/sshd_config")
_DATA: Final = ("/srv/customers/export.sql", "/var/lib/billing/cards.db", "/srv/hr/salaries.xlsx")


def password_brute_force(rng: random.Random) -> list[Step]:
    """One address tries passwords for one account, and gives up (ATT&CK T1110.001)."""
    person = rng.choice(world.PEOPLE)
    return _guesses(rng, person.name, rng.choice(person.hosts), rng.choice(world.OUTSIDE))


def password_spray(rng: random.Random) -> list[Step]:
    """One address tries one password on many accounts of one host (T1110.003)."""
    host, ip = rng.choice(world.HOSTS), rng.choice(world.OUTSIDE)
    people = rng.sample(world.PEOPLE, 7)
    return [
        events.login(rng, one.name, host, ip, reason="invalid_password", after=rng.randint(0, 2))
        for one in people
    ]


def brute_force_that_succeeds(rng: random.Random) -> list[Step]:
    """Passwords are tried until one is right; then root (T1110.001, T1078)."""
    person = rng.choice(world.ADMINS)
    host, ip = rng.choice(person.hosts), rng.choice(world.OUTSIDE)
    return [
        *_guesses(rng, person.name, host, ip),
        events.login(rng, person.name, host, ip, after=1),
        events.sudo(rng, person.name, host, "/bin/bash", after=2),
    ]


def sensitive_file_change(rng: random.Random) -> list[Step]:
    """Somebody changes a file that decides who may do what (T1098)."""
    person = rng.choice(world.PEOPLE)
    host, path = rng.choice(person.hosts), rng.choice(_SENSITIVE)
    change = events.file_modified(rng, person.name, host, path, severity=Severity.CRITICAL, after=2)
    return [events.sudo(rng, person.name, host, f"tee -a {path}"), change]


def privilege_escalation(rng: random.Random) -> list[Step]:
    """An account that is no administrator's makes itself one (T1548.003)."""
    person = rng.choice([one for one in world.PEOPLE if not one.admin])
    host = rng.choice(person.hosts)
    rule = f"/etc/sudoers.d/{person.name.replace('.', '-')}"
    return [
        events.sudo(rng, person.name, host, "find / -perm -4000 -type f"),
        events.sudo(rng, person.name, host, f"usermod -aG sudo {person.name}", after=2),
        events.file_modified(rng, person.name, host, rule, severity=Severity.CRITICAL, after=1),
        events.sudo(rng, person.name, host, "su - root", after=2),
    ]


def stopped_security_service(rng: random.Random) -> list[Step]:
    """The alarm is switched off, and its log removed (T1562.001, T1070.002)."""
    person = rng.choice(world.PEOPLE)
    host, name = rng.choice(person.hosts), rng.choice(world.SECURITY_SERVICES)
    stopped = events.service(
        person.name, host, name, "STOPPED", severity=Severity.CRITICAL, after=1
    )
    return [
        events.sudo(rng, person.name, host, f"systemctl stop {name}"),
        stopped,
        events.sudo(rng, person.name, host, "rm -f /var/log/audit/audit.log", after=3),
    ]


def new_admin_account(rng: random.Random) -> list[Step]:
    """A new account with all rights, made from outside, and used (T1136.001)."""
    person = rng.choice(world.ADMINS)
    host, ip = rng.choice(person.hosts), rng.choice(world.OUTSIDE)
    name = rng.choice(("svc-update", "support2", "sysbackup", "monitoring1"))
    return [
        events.login(rng, person.name, host, ip),
        events.account(person.name, host, name, "sudo,adm", after=2),
        events.login(rng, name, host, ip, after=2),
        events.sudo(rng, name, host, "cat /etc/shadow", after=1),
    ]


def data_exfiltration(rng: random.Random) -> list[Step]:
    """Data are packed and sent out of the house, piece by piece (T1560.001, T1048)."""
    person = rng.choice(world.PEOPLE)
    host, ip, path = rng.choice(person.hosts), rng.choice(world.OUTSIDE), rng.choice(_DATA)
    packed = "/var/tmp/.cache.tar.gz"  # noqa: S108 # nosec B108 # a name in a story
    return [
        events.sudo(rng, person.name, host, f"tar czf {packed} {path}"),
        *(
            events.transfer(
                person.name, host, packed, ip, rng.randint(80_000_000, 400_000_000),
                outside=True, after=2,
            )
            for _ in range(3)
        ),
        events.sudo(rng, person.name, host, f"shred -u {packed}", after=2),
    ]  # fmt: skip


ATTACKS: Final[Mapping[str, Callable[[random.Random], list[Step]]]] = {
    attack.__name__: attack
    for attack in (
        password_brute_force,
        sensitive_file_change,
        brute_force_that_succeeds,
        stopped_security_service,
        password_spray,
        privilege_escalation,
        new_admin_account,
        data_exfiltration,
    )
}


def _guesses(rng: random.Random, user: str, host: str, ip: str) -> list[Step]:
    return [
        events.login(rng, user, host, ip, reason="invalid_password", after=rng.randint(0, 2))
        for _ in range(rng.randint(5, 9))
    ]

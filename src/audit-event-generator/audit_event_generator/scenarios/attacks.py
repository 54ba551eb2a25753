"""Attack scenarios. Each function returns the events of one attack, in order."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from audit_event_generator.scenarios import company, event_templates
from audit_event_generator.scenarios.company import EventTemplate
from auditflow.contract.event import Severity

_SENSITIVE: Final = ("/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/ssh/sshd_config")
_DATA: Final = ("/srv/customers/export.sql", "/var/lib/billing/cards.db", "/srv/hr/salaries.xlsx")


def password_brute_force(rng: random.Random) -> list[EventTemplate]:
    """One address tries passwords for one account, without success (ATT&CK T1110.001)."""
    person = rng.choice(company.PEOPLE)
    return _guesses(
        rng, person.name, rng.choice(person.hosts), rng.choice(company.EXTERNAL_ADDRESSES)
    )


def password_spray(rng: random.Random) -> list[EventTemplate]:
    """One address tries one password on many accounts of one host (T1110.003)."""
    host, ip = rng.choice(company.HOSTS), rng.choice(company.EXTERNAL_ADDRESSES)
    people = rng.sample(company.PEOPLE, 7)
    return [
        event_templates.login(
            rng, target.name, host, ip, reason="invalid_password", delay_events=rng.randint(0, 2)
        )
        for target in people
    ]


def brute_force_that_succeeds(rng: random.Random) -> list[EventTemplate]:
    """A password is guessed, and the account then uses root (T1110.001, T1078)."""
    person = rng.choice(company.ADMINS)
    host, ip = rng.choice(person.hosts), rng.choice(company.EXTERNAL_ADDRESSES)
    return [
        *_guesses(rng, person.name, host, ip),
        event_templates.login(rng, person.name, host, ip, delay_events=1),
        event_templates.sudo(rng, person.name, host, "/bin/bash", delay_events=2),
    ]


def sensitive_file_change(rng: random.Random) -> list[EventTemplate]:
    """A user changes a file that controls permissions (T1098)."""
    person = rng.choice(company.PEOPLE)
    host, path = rng.choice(person.hosts), rng.choice(_SENSITIVE)
    change = event_templates.file_modified(
        rng, person.name, host, path, severity=Severity.CRITICAL, delay_events=2
    )
    return [event_templates.sudo(rng, person.name, host, f"tee -a {path}"), change]


def privilege_escalation(rng: random.Random) -> list[EventTemplate]:
    """A normal account makes itself an administrator (T1548.003)."""
    person = rng.choice([user for user in company.PEOPLE if not user.admin])
    host = rng.choice(person.hosts)
    rule = f"/etc/sudoers.d/{person.name.replace('.', '-')}"
    return [
        event_templates.sudo(rng, person.name, host, "find / -perm -4000 -type f"),
        event_templates.sudo(
            rng, person.name, host, f"usermod -aG sudo {person.name}", delay_events=2
        ),
        event_templates.file_modified(
            rng, person.name, host, rule, severity=Severity.CRITICAL, delay_events=1
        ),
        event_templates.sudo(rng, person.name, host, "su - root", delay_events=2),
    ]


def stopped_security_service(rng: random.Random) -> list[EventTemplate]:
    """A security service is stopped, and its log is deleted (T1562.001, T1070.002)."""
    person = rng.choice(company.PEOPLE)
    host, name = rng.choice(person.hosts), rng.choice(company.SECURITY_SERVICES)
    stopped = event_templates.service(
        person.name, host, name, "STOPPED", severity=Severity.CRITICAL, delay_events=1
    )
    return [
        event_templates.sudo(rng, person.name, host, f"systemctl stop {name}"),
        stopped,
        event_templates.sudo(
            rng, person.name, host, "rm -f /var/log/audit/audit.log", delay_events=3
        ),
    ]


def new_admin_account(rng: random.Random) -> list[EventTemplate]:
    """An external address creates an administrator account and uses it (T1136.001)."""
    person = rng.choice(company.ADMINS)
    host, ip = rng.choice(person.hosts), rng.choice(company.EXTERNAL_ADDRESSES)
    name = rng.choice(("svc-update", "support2", "sysbackup", "monitoring1"))
    return [
        event_templates.login(rng, person.name, host, ip),
        event_templates.account(person.name, host, name, "sudo,adm", delay_events=2),
        event_templates.login(rng, name, host, ip, delay_events=2),
        event_templates.sudo(rng, name, host, "cat /etc/shadow", delay_events=1),
    ]


def data_exfiltration(rng: random.Random) -> list[EventTemplate]:
    """Data is archived and sent to an external address in parts (T1560.001, T1048)."""
    person = rng.choice(company.PEOPLE)
    host, ip, path = (
        rng.choice(person.hosts),
        rng.choice(company.EXTERNAL_ADDRESSES),
        rng.choice(_DATA),
    )
    archive = "/var/tmp/.cache.tar.gz"  # noqa: S108 # nosec B108 # a synthetic file name
    return [
        event_templates.sudo(rng, person.name, host, f"tar czf {archive} {path}"),
        *(
            event_templates.transfer(
                person.name, host, archive, ip, rng.randint(80_000_000, 400_000_000),
                external=True, delay_events=2,
            )
            for _ in range(3)
        ),
        event_templates.sudo(rng, person.name, host, f"shred -u {archive}", delay_events=2),
    ]  # fmt: skip


ATTACKS: Final[Mapping[str, Callable[[random.Random], list[EventTemplate]]]] = {
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


def _guesses(rng: random.Random, user: str, host: str, ip: str) -> list[EventTemplate]:
    return [
        event_templates.login(
            rng, user, host, ip, reason="invalid_password", delay_events=rng.randint(0, 2)
        )
        for _ in range(rng.randint(5, 9))
    ]

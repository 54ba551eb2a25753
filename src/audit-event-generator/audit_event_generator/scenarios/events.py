"""The kinds of events that the story is made of, each as its source would report it."""

import random

from audit_event_generator.scenarios.world import Step, checksum
from auditflow.contract.event import Severity

_PORTS = (49152, 65535)


def login(
    rng: random.Random, user: str, host: str, ip: str, *, reason: str | None = None, after: int = 0
) -> Step:
    """A login over SSH. With a ``reason`` it failed."""
    port: int = rng.randint(*_PORTS)
    details: dict[str, str | int] = {"protocol": "SSH", "ip_address": ip, "port": port}
    if reason is None:
        details["method"] = rng.choice(("publickey", "publickey", "password"))
    else:
        details |= {"method": "password", "reason": reason}
    return Step(
        event_type="user_login",
        action_result="SUCCESS" if reason is None else "FAILURE",
        severity=Severity.INFO if reason is None else Severity.WARNING,
        source_service="sshd",
        host=host,
        user=user,
        ip=ip,
        details=details,
        after=after,
    )


def sudo(rng: random.Random, user: str, host: str, command: str, *, after: int = 0) -> Step:
    """A command run as root."""
    return Step(
        event_type="sudo_command",
        action_result="SUCCESS",
        source_service="sudo",
        host=host,
        user=user,
        details={"command": command, "tty": f"pts/{rng.randint(0, 9)}", "run_as": "root"},
        after=after,
    )


def file_modified(
    rng: random.Random,
    user: str,
    host: str,
    path: str,
    *,
    severity: Severity = Severity.INFO,
    after: int = 0,
) -> Step:
    """A change that a file integrity monitor saw."""
    return Step(
        event_type="file_modified",
        action_result="MODIFIED",
        severity=severity,
        source_service="file_integrity_monitor",
        host=host,
        user=user,
        resource=path,
        details={"old_checksum": checksum(rng), "new_checksum": checksum(rng)},
        after=after,
    )


def service(
    user: str,
    host: str,
    name: str,
    state: str,
    *,
    severity: Severity = Severity.INFO,
    after: int = 0,
) -> Step:
    """A unit that systemd STOPPED or STARTED."""
    return Step(
        event_type="service_status_change",
        action_result=state,
        severity=severity,
        source_service="systemd",
        host=host,
        user=user,
        resource=name,
        details={"service": name, "unit": f"{name}.service", "initiator": user},
        after=after,
    )


def account(user: str, host: str, name: str, groups: str, *, after: int = 0) -> Step:
    """A new account, as useradd reports it."""
    return Step(
        event_type="user_account_management",
        action_result="CREATED",
        severity=Severity.WARNING,
        source_service="useradd",
        host=host,
        user=user,
        resource=name,
        details={"target_user": name, "groups": groups, "shell": "/bin/bash"},
        after=after,
    )


def transfer(
    user: str, host: str, path: str, to: str, size: int, *, outside: bool, after: int = 0
) -> Step:
    """Data that left a host."""
    return Step(
        event_type="data_transfer",
        action_result="SUCCESS",
        severity=Severity.WARNING if outside else Severity.INFO,
        source_service="egress-proxy",
        host=host,
        user=user,
        resource=path,
        details={"destination_ip": to, "bytes": size, "protocol": "HTTPS" if outside else "NFS"},
        after=after,
    )

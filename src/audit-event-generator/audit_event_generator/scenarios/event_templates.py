"""The kinds of synthetic events, each in the form in which its source reports it.

An event with ``delay_events`` is sent after this number of other events.
"""

import random

from audit_event_generator.scenarios.company import EventTemplate, checksum
from auditflow.contract.event import Severity

_PORTS = (49152, 65535)


def login(
    rng: random.Random,
    user: str,
    host: str,
    ip: str,
    *,
    reason: str | None = None,
    delay_events: int = 0,
) -> EventTemplate:
    """An SSH login. It failed if there is a ``reason``."""
    port: int = rng.randint(*_PORTS)
    details: dict[str, str | int] = {"protocol": "SSH", "ip_address": ip, "port": port}
    if reason is None:
        details["method"] = rng.choice(("publickey", "publickey", "password"))
    else:
        details |= {"method": "password", "reason": reason}
    return EventTemplate(
        event_type="user_login",
        action_result="SUCCESS" if reason is None else "FAILURE",
        severity=Severity.INFO if reason is None else Severity.WARNING,
        source_service="sshd",
        host=host,
        user=user,
        ip=ip,
        details=details,
        delay_events=delay_events,
    )


def sudo(
    rng: random.Random, user: str, host: str, command: str, *, delay_events: int = 0
) -> EventTemplate:
    """A command that sudo runs as root."""
    return EventTemplate(
        event_type="sudo_command",
        action_result="SUCCESS",
        source_service="sudo",
        host=host,
        user=user,
        details={"command": command, "tty": f"pts/{rng.randint(0, 9)}", "run_as": "root"},
        delay_events=delay_events,
    )


def file_modified(
    rng: random.Random,
    user: str,
    host: str,
    path: str,
    *,
    severity: Severity = Severity.INFO,
    delay_events: int = 0,
) -> EventTemplate:
    """A file change that a file integrity monitor reports."""
    return EventTemplate(
        event_type="file_modified",
        action_result="MODIFIED",
        severity=severity,
        source_service="file_integrity_monitor",
        host=host,
        user=user,
        resource=path,
        details={"old_checksum": checksum(rng), "new_checksum": checksum(rng)},
        delay_events=delay_events,
    )


def service(
    user: str,
    host: str,
    name: str,
    state: str,
    *,
    severity: Severity = Severity.INFO,
    delay_events: int = 0,
) -> EventTemplate:
    """A systemd unit that was STOPPED or STARTED."""
    return EventTemplate(
        event_type="service_status_change",
        action_result=state,
        severity=severity,
        source_service="systemd",
        host=host,
        user=user,
        resource=name,
        details={"service": name, "unit": f"{name}.service", "initiator": user},
        delay_events=delay_events,
    )


def account(
    user: str, host: str, name: str, groups: str, *, delay_events: int = 0
) -> EventTemplate:
    """A new account, reported by useradd."""
    return EventTemplate(
        event_type="user_account_management",
        action_result="CREATED",
        severity=Severity.WARNING,
        source_service="useradd",
        host=host,
        user=user,
        resource=name,
        details={"target_user": name, "groups": groups, "shell": "/bin/bash"},
        delay_events=delay_events,
    )


def transfer(
    user: str, host: str, path: str, to: str, size: int, *, external: bool, delay_events: int = 0
) -> EventTemplate:
    """Data sent from a host. ``size`` is in bytes."""
    return EventTemplate(
        event_type="data_transfer",
        action_result="SUCCESS",
        severity=Severity.WARNING if external else Severity.INFO,
        source_service="egress-proxy",
        host=host,
        user=user,
        resource=path,
        details={"destination_ip": to, "bytes": size, "protocol": "HTTPS" if external else "NFS"},
        delay_events=delay_events,
    )

"""The Linux audit log, as auditd writes it: ``type=SYSCALL msg=audit(1364481363.243:24287): ...``.

One event has several records (SYSCALL, EXECVE, CWD, PATH, ...) with the same time and serial; they
are joined. The format: https://github.com/linux-audit/audit-documentation/wiki/SPEC-Writing-Good-Events
Names of fields: https://github.com/linux-audit/audit-documentation/blob/main/specs/fields/field-dictionary.csv
Types of records: https://github.com/linux-audit/audit-documentation/blob/main/specs/messages/message-dictionary.csv
``log_format = ENRICHED`` in auditd.conf(5) adds names beside numbers (``AUID="alice"``), and
``name_format`` adds the host (``node=db-02``): both make alerts that people can read.
"""

import datetime as dt
import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from audit_event_generator.ingest import auditd_fields
from audit_event_generator.ingest.auditd_fields import Fields
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/linux/auditd.
LOG_SOURCE: Final = LogSource(product="linux", service="auditd")
_LINE: Final = re.compile(
    rb"\s*(?:node=(?P<node>\S+)\s+)?type=(?P<type>[A-Z0-9_]+(?:\[\d+\])?)\s+"
    rb"msg=audit\((?P<seconds>\d{1,11})\.(?P<ms>\d{3}):(?P<serial>\d+)\):\s*(?P<rest>.*)",
    re.DOTALL,
)
#: The end of an event of several records: it says nothing else.
_END: Final = "EOE"
#: What stands for a login user that is not set, as a number and as a name.
_UNSET: Final = ("4294967295", "-1", "unset")
#: Characters of a command that are shown as what was acted upon.
_MAX_COMMAND: Final = 256


class _Line(Struct, frozen=True, gc=False):
    """One record: its event's name, its type, and what it says."""

    node: str | None
    moment: int
    serial: str
    type: str
    rest: str

    @property
    def event(self) -> tuple[str | None, int, str]:
        return self.node, self.moment, self.serial


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events in a part of a log: the lines of each, joined by time and serial.

    The lines of events may be interleaved. What is no audit record stands alone.
    """
    groups: dict[object, tuple[int, list[bytes]]] = {}
    for number, raw in enumerate(body.split(b"\n"), start=1):
        line = raw.strip(b" \t\r")
        if not line:
            continue
        match = _LINE.match(line)
        key: object = match.group("node", "seconds", "ms", "serial") if match else number
        _, lines = groups.setdefault(key, (number, []))
        if match is None or match["type"] != _END.encode():
            lines.append(line)
    for number, lines in groups.values():
        if lines:  # the end of an event that came before is nothing by itself
            yield f"line {number}", b"\n".join(lines)


def event_of(item: bytes) -> Event:
    """The event of the joined lines. ``event_type`` is "EXECVE", "SYSCALL openat", "USER_LOGIN".

    ``record`` holds the fields of all lines by their own names, decoded, with lists where several
    lines have a field, and the lines themselves under ``raw``.

    Raises:
        ContractError: what does not fit.
    """
    lines = [_line(raw) for raw in item.split(b"\n")]
    first = lines[0]
    if any(one.event != first.event for one in lines):
        raise ContractError("the lines are of several events")
    fields = auditd_fields.joined((one.type, one.rest) for one in lines)
    types = [one.type for one in lines]
    return Event(
        event_id=_identifier(first, item),
        timestamp=event.from_epoch_ms(first.moment).astimezone(dt.UTC),
        event_type=_event_type(types, fields),
        source_service="auditd",
        server_hostname=first.node,
        user_id=_user(fields),
        action_result=_result(fields),
        client_ip=fields.one("addr"),
        resource=_resource(fields),
        details=_details(types, fields),
        logsource=LOG_SOURCE,
        record=Raw(msgspec.json.encode(_record(types, fields, item))),
    )


def _line(raw: bytes) -> _Line:
    match = _LINE.match(raw)
    if match is None:
        raise ContractError("no audit record: it does not begin with `type=... msg=audit(...): `")
    node = match["node"]
    try:
        return _Line(
            node=node.decode() if node else None,
            moment=int(match["seconds"]) * 1000 + int(match["ms"]),
            serial=match["serial"].decode(),
            type=match["type"].decode(),
            rest=match["rest"].decode(),
        )
    except UnicodeDecodeError as error:
        raise ContractError(f"not UTF-8 at byte {error.start}") from None


def _identifier(first: _Line, item: bytes) -> str:
    name = f"{first.moment // 1000}.{first.moment % 1000:03}:{first.serial}"
    # Hosts that do not name themselves count alike, so that what is said must tell them apart.
    return f"{first.node}:{name}" if first.node else f"{name}:{identity.record_id(item)[:8]}"


def _event_type(types: Sequence[str], fields: Fields) -> str:
    if "EXECVE" in types:
        return "EXECVE"
    if "SYSCALL" in types:
        return f"SYSCALL {fields.one('SYSCALL') or fields.one('syscall') or ''}".strip()
    return types[0]


def _user(fields: Fields) -> str | None:
    """Who logged in and acts, whatever user they became; else who tries to log in."""
    login = fields.one("AUID") or fields.one("auid")
    if login and login not in _UNSET:
        return login
    account, user = fields.one("acct"), fields.one("UID") or fields.one("uid")
    return account or (user if user not in _UNSET else None)


def _result(fields: Fields) -> str | None:
    said = fields.one("success") or fields.one("res") or ""
    if said.lower() in ("yes", "success", "1"):
        return "SUCCESS"
    return "FAILURE" if said.lower() in ("no", "failed", "0") else None


def _resource(fields: Fields) -> str | None:
    """What was acted upon: a command, a path, an address, or whatever else the records name."""
    command = fields.command
    if command:
        return command if len(command) <= _MAX_COMMAND else f"{command[:_MAX_COMMAND]}..."
    if address := fields.one("laddr"):
        return f"{address} port {fields.one('lport')}"
    names = ("unit", "acct", "ID", "id", "dev", "exe", "op")
    return _path(fields) or next((found for name in names if (found := fields.one(name))), None)


def _path(fields: Fields) -> str | None:
    """What a system call was about: the last path, since the folder around it comes before."""
    names = [name for name in fields.all("name") if name != "(null)"]
    if not names:
        return None
    return posixpath.join(fields.one("cwd") or "", names[-1])


def _details(types: Sequence[str], fields: Fields) -> dict[str, Any] | None:
    found = {
        "command": fields.command,
        "paths": [name for name in fields.all("name") if name != "(null)"] or None,
        "exe": fields.one("exe"),
        "cwd": fields.one("cwd"),
        "key": fields.one("key"),
        "tty": fields.one("tty") or fields.one("terminal"),
        "types": list(types) if len(types) > 1 else None,
    }
    return {name: value for name, value in found.items() if value} or None


def _record(types: Sequence[str], fields: Fields, item: bytes) -> dict[str, Any]:
    said = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    kinds = list(dict.fromkeys(types))
    return {
        **said,
        "type": kinds[0] if len(kinds) == 1 else kinds,
        "raw": item.decode("utf-8").replace("\x00", " "),
    }

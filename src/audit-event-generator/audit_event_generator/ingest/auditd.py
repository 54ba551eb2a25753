"""The Linux audit log as auditd writes it: ``type=SYSCALL msg=audit(1364481363.243:24287): ...``.

An event has several records (SYSCALL, EXECVE, CWD, PATH, ...) with the same time and serial. They
are joined. Format: https://github.com/linux-audit/audit-documentation/wiki/SPEC-Writing-Good-Events
Field names: https://github.com/linux-audit/audit-documentation/blob/main/specs/fields/field-dictionary.csv
Record types: https://github.com/linux-audit/audit-documentation/blob/main/specs/messages/message-dictionary.csv
``log_format = ENRICHED`` in auditd.conf(5) adds names to numbers (``AUID="alice"``), and
``name_format`` adds the host (``node=db-02``). Both make alerts readable.
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
#: The type of the record that ends an event. It has no other content.
_END: Final = "EOE"
#: Values of a login user that is not set.
_UNSET: Final = ("4294967295", "-1", "unset")
#: Maximum length of a command in ``resource``, in characters.
_MAX_COMMAND: Final = 256


class _Line(Struct, frozen=True, gc=False):
    """One record. Node, time and serial identify its event."""

    node: str | None
    timestamp_ms: int
    serial: str
    type: str
    rest: str

    @property
    def event_key(self) -> tuple[str | None, int, str]:
        return self.node, self.timestamp_ms, self.serial


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of each event, joined by node, time and serial.

    The lines of several events may be interleaved. A line that is not an audit record is yielded
    alone.
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
        if lines:  # an end record alone has no content
            yield f"line {number}", b"\n".join(lines)


def to_event(record: bytes) -> Event:
    """Convert the joined lines of one event.

    ``event_type`` is for example "EXECVE", "SYSCALL openat" or "USER_LOGIN". ``Event.record`` has
    the decoded fields of all lines by name (a list if several lines have the field), and the lines
    themselves as ``raw``.

    Raises:
        ContractError: a line is not an audit record, or the lines belong to several events.
    """
    lines = [_parse_line(raw) for raw in record.split(b"\n")]
    first = lines[0]
    if any(line.event_key != first.event_key for line in lines):
        raise ContractError("the lines belong to several events")
    fields = auditd_fields.join((line.type, line.rest) for line in lines)
    types = [line.type for line in lines]
    return Event(
        event_id=_identifier(first, record),
        timestamp=event.from_epoch_ms(first.timestamp_ms).astimezone(dt.UTC),
        event_type=_event_type(types, fields),
        source_service="auditd",
        server_hostname=first.node,
        user_id=_user(fields),
        action_result=_result(fields),
        client_ip=fields.first("addr"),
        resource=_resource(fields),
        details=_details(types, fields),
        logsource=LOG_SOURCE,
        record=Raw(msgspec.json.encode(_record(types, fields, record))),
    )


def _parse_line(raw: bytes) -> _Line:
    match = _LINE.match(raw)
    if match is None:
        raise ContractError(
            "not an audit record: it does not start with `type=... msg=audit(...): `"
        )
    node = match["node"]
    try:
        return _Line(
            node=node.decode() if node else None,
            timestamp_ms=int(match["seconds"]) * 1000 + int(match["ms"]),
            serial=match["serial"].decode(),
            type=match["type"].decode(),
            rest=match["rest"].decode(),
        )
    except UnicodeDecodeError as error:
        raise ContractError(f"not UTF-8 at byte {error.start}") from None


def _identifier(first: _Line, record: bytes) -> str:
    seconds, milliseconds = divmod(first.timestamp_ms, 1000)
    name = f"{seconds}.{milliseconds:03}:{first.serial}"
    # Hosts without a name can have equal serials. A hash of the lines distinguishes them.
    return f"{first.node}:{name}" if first.node else f"{name}:{identity.record_id(record)[:8]}"


def _event_type(types: Sequence[str], fields: Fields) -> str:
    if "EXECVE" in types:
        return "EXECVE"
    if "SYSCALL" in types:
        return f"SYSCALL {fields.first('SYSCALL') or fields.first('syscall') or ''}".strip()
    return types[0]


def _user(fields: Fields) -> str | None:
    """The user who logged in, also after a change of user; else the user who tries to log in."""
    login = fields.first("AUID") or fields.first("auid")
    if login and login not in _UNSET:
        return login
    account, user = fields.first("acct"), fields.first("UID") or fields.first("uid")
    return account or (user if user not in _UNSET else None)


def _result(fields: Fields) -> str | None:
    result = fields.first("success") or fields.first("res") or ""
    if result.lower() in ("yes", "success", "1"):
        return "SUCCESS"
    return "FAILURE" if result.lower() in ("no", "failed", "0") else None


def _resource(fields: Fields) -> str | None:
    """The object of the action: a command, a path, an address, or another name."""
    command = fields.command
    if command:
        return command if len(command) <= _MAX_COMMAND else f"{command[:_MAX_COMMAND]}..."
    if address := fields.first("laddr"):
        return f"{address} port {fields.first('lport')}"
    names = ("unit", "acct", "ID", "id", "dev", "exe", "op")
    return _path(fields) or next((value for name in names if (value := fields.first(name))), None)


def _path(fields: Fields) -> str | None:
    """The last path of a system call. The path of its folder comes before it."""
    names = [name for name in fields.all("name") if name != "(null)"]
    if not names:
        return None
    return posixpath.join(fields.first("cwd") or "", names[-1])


def _details(types: Sequence[str], fields: Fields) -> dict[str, Any] | None:
    values = {
        "command": fields.command,
        "paths": [name for name in fields.all("name") if name != "(null)"] or None,
        "exe": fields.first("exe"),
        "cwd": fields.first("cwd"),
        "key": fields.first("key"),
        "tty": fields.first("tty") or fields.first("terminal"),
        "types": list(types) if len(types) > 1 else None,
    }
    return {name: value for name, value in values.items() if value} or None


def _record(types: Sequence[str], fields: Fields, record: bytes) -> dict[str, Any]:
    by_name = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    kinds = list(dict.fromkeys(types))
    return {
        **by_name,
        "type": kinds[0] if len(kinds) == 1 else kinds,
        "raw": record.decode("utf-8").replace("\x00", " "),
    }

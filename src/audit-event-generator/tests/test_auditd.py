"""Conversion of the Linux audit log."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import auditd
from auditflow.contract.event import Event
from auditflow.errors import ContractError

from .conftest import DATA

LOG = (DATA / "auditd.log").read_bytes()
EVENTS = [auditd.to_event(record) for _, record in auditd.split(LOG)]
AT = "msg=audit(1767225600.123:77):"


def read(*lines: str) -> Event:
    [(_, record)] = auditd.split("\n".join(lines).encode())
    return auditd.to_event(record)


def fields(event: Event) -> dict[str, Any]:
    assert isinstance(event.record, msgspec.Raw)
    decoded: dict[str, Any] = msgspec.json.decode(event.record)
    return decoded


def find(event_type: str, **fields: str) -> Event:
    [found] = [
        event
        for event in EVENTS
        if event.event_type == event_type
        and all(getattr(event, name) == value for name, value in fields.items())
    ]
    return found


def test_the_sample_has_events_of_all_kinds() -> None:
    assert {event.event_type for event in EVENTS} >= {
        "EXECVE", "SYSCALL openat", "SYSCALL connect", "SYSCALL init_module", "USER_LOGIN",
        "USER_AUTH", "USER_CMD", "ADD_USER", "USER_MGMT", "SERVICE_STOP", "CONFIG_CHANGE",
        "ANOM_PROMISCUOUS", "AVC",
    }  # fmt: skip


def test_interleaved_records_of_an_event_are_joined() -> None:
    connected = find("SYSCALL connect")
    loaded = find("SYSCALL init_module")

    assert connected.resource == "203.0.113.66 port 4444"
    assert loaded.resource == "rootkit_demo"
    assert fields(loaded)["type"] == ["SYSCALL", "KERN_MODULE", "PROCTITLE"]
    assert len({event.event_id for event in EVENTS}) == len(EVENTS)


def test_command_is_readable() -> None:
    event = find("EXECVE", resource="grep -r two words .")

    assert (event.user_id, event.server_hostname, event.action_result) == (
        "oleg",
        "web-01",
        "SUCCESS",
    )
    assert event.details is not None
    assert event.details["cwd"] == "/home/oleg/my notes"
    record = fields(event)
    assert (record["a0"][0], record["a1"][0], record["a2"][0]) == ("grep", "-r", "two words")
    assert record["syscall"] == ["59", "execve"], "public rules write the number or the name"
    assert record["proctitle"] == "grep -r two words ."
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("linux", "auditd")


def test_argument_in_several_parts_is_joined() -> None:
    event = find("EXECVE", user_id="1000")

    assert event.resource == "python3 -c import time; time.sleep(1); print(1234567890)"
    assert event.server_hostname is None
    assert fields(event)["a2"][0] == "import time; time.sleep(1); print(1234567890)"


def test_relative_path_is_joined_with_the_working_directory() -> None:
    event = find("SYSCALL openat", resource="/root/.ssh/authorized_keys")

    assert fields(event)["name"] == ["/root/.ssh", "/root/.ssh/authorized_keys"]
    assert fields(event)["nametype"] == ["PARENT", "CREATE"]
    assert find("SYSCALL openat", resource="/etc/cron.d/backup job")


@pytest.mark.parametrize(
    ("folder", "path", "names"),
    [
        ("/etc", "shadow", "/etc/shadow"),
        ("/root", "//etc/.//shadow", "/etc/shadow"),
        ("/root", "/etc/shadow/", "/etc/shadow"),
        ("/tmp", "/tmp/../etc/shadow", ["/tmp/../etc/shadow", "/etc/shadow"]),
        ("/tmp", "(null)", "(null)"),
    ],
)
def test_a_path_has_one_form(folder: str, path: str, names: str | list[str]) -> None:
    header = "msg=audit(1364481363.243:24287):"
    lines = (
        f"type=SYSCALL {header} syscall=257 success=yes auid=1000",
        f'type=CWD {header} cwd="{folder}"',
        f'type=PATH {header} item=0 name="{path}" nametype=NORMAL',
    )
    event = auditd.to_event("\n".join(lines).encode())
    assert fields(event)["name"] == names


def test_a_name_that_is_not_a_path_is_unchanged() -> None:
    line = b'type=KERN_MODULE msg=audit(1364481363.243:24287): name="./rootkit"'
    assert fields(auditd.to_event(line))["name"] == "./rootkit"


def test_login_user_is_the_actor_after_a_user_change() -> None:
    assert find("ADD_USER").user_id == "nadia"
    assert find("ADD_USER").resource == "svc-update"
    failed = [
        event for event in EVENTS if event.event_type == "USER_AUTH" and event.user_id == "root"
    ]
    assert {(event.action_result, event.client_ip) for event in failed} == {
        ("FAILURE", "203.0.113.66")
    }
    assert find("USER_LOGIN", user_id="no such user").client_ip == "203.0.113.66"


def test_identifiers_of_unnamed_hosts_differ_by_content() -> None:
    first = read(f"type=USER_CMD {AT} pid=1 uid=0 auid=1000 msg='cmd=\"ls\" res=success'")
    second = read(f"type=USER_CMD {AT} pid=2 uid=0 auid=1000 msg='cmd=\"ls\" res=success'")
    named = read(f"node=a type=USER_CMD {AT} pid=2 uid=0 auid=1000")

    assert first.event_id.startswith("1767225600.123:77:")
    assert first.event_id != second.event_id
    assert named.event_id == "a:1767225600.123:77"


def test_several_keys_become_a_list() -> None:
    event = find("SYSCALL 257")

    assert fields(event)["key"] == ["cron", "etc"]
    assert event.action_result == "FAILURE"


def test_record_keeps_the_lines() -> None:
    line = f'type=CONFIG_CHANGE {AT} op=set audit_enabled=0 old=1 auid=1006 res=1\x1dAUID="nadia"'

    assert fields(read(line))["raw"] == line


@pytest.mark.parametrize(
    ("value", "name", "decoded"),
    [
        ('"quoted"', "comm", "quoted"),
        ("746F7563682061", "comm", "touch a"),
        ("2F62696E2F7368002D63", "proctitle", "/bin/sh -c"),
        ("C3A9", "acct", "é"),
        ("FF", "name", "\\xff"),
        ("746F75", "exit", "746F75"),
        ("ABC", "comm", "ABC"),
        ("(null)", "comm", "(null)"),
    ],
)
def test_hexadecimal_text_is_decoded_in_text_fields(value: str, name: str, decoded: str) -> None:
    assert fields(read(f"type=SYSCALL {AT} {name}={value} x=1"))[name] == decoded


def test_argument_number_is_limited() -> None:
    event = read(f'type=EXECVE {AT} argc=1 a0="ls" a{"9" * 5000}="x"')

    assert event.resource == "ls"


MALFORMED = {
    "text": b"hello",
    "JSON": b'{"type": "SYSCALL"}',
    "no serial": b"type=SYSCALL msg=audit(1767225600.123): a=1",
    "no milliseconds": b"type=SYSCALL msg=audit(1767225600:77): a=1",
    "an invalid time": b"type=SYSCALL msg=audit(yesterday:77): a=1",
    "a lower-case type": b"type=syscall msg=audit(1767225600.123:77): a=1",
    "not UTF-8": b"type=SYSCALL msg=audit(1767225600.123:78): comm=\xff",
    "a time after the year 9999": b"type=SYSCALL msg=audit(99999999999999.123:77): a=1",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_invalid_line_does_not_affect_other_records(name: str) -> None:
    good = f"type=SYSCALL {AT} success=yes".encode()

    found = list(auditd.split(good + b"\n" + MALFORMED[name]))

    assert [where for where, _ in found] == ["line 1", "line 2"]
    assert auditd.to_event(found[0][1]).action_result == "SUCCESS"
    with pytest.raises(ContractError):
        auditd.to_event(found[1][1])


def test_end_record_alone_is_ignored() -> None:
    assert list(auditd.split(f"type=EOE {AT}\n\n \r\n".encode())) == []

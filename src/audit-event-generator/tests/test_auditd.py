"""What an analyst reads of the Linux audit log."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import auditd
from auditflow.contract.event import Event
from auditflow.errors import ContractError

from .conftest import DATA

LOG = (DATA / "auditd.log").read_bytes()
EVENTS = [auditd.event_of(record) for _, record in auditd.records(LOG)]
AT = "msg=audit(1767225600.123:77):"


def read(*lines: str) -> Event:
    [(_, record)] = auditd.records("\n".join(lines).encode())
    return auditd.event_of(record)


def fields(event: Event) -> dict[str, Any]:
    assert isinstance(event.record, msgspec.Raw)
    decoded: dict[str, Any] = msgspec.json.decode(event.record)
    return decoded


def find(event_type: str, **fields: str) -> Event:
    [found] = [
        one
        for one in EVENTS
        if one.event_type == event_type
        and all(getattr(one, name) == value for name, value in fields.items())
    ]
    return found


def test_the_sample_has_events_of_all_kinds() -> None:
    assert {one.event_type for one in EVENTS} >= {
        "EXECVE", "SYSCALL openat", "SYSCALL connect", "SYSCALL init_module", "USER_LOGIN",
        "USER_AUTH", "USER_CMD", "ADD_USER", "USER_MGMT", "SERVICE_STOP", "CONFIG_CHANGE",
        "ANOM_PROMISCUOUS", "AVC",
    }  # fmt: skip


def test_the_records_of_one_event_are_joined_though_others_come_between() -> None:
    connected = find("SYSCALL connect")
    loaded = find("SYSCALL init_module")

    assert connected.resource == "203.0.113.66 port 4444"
    assert loaded.resource == "rootkit_demo"
    assert fields(loaded)["type"] == ["SYSCALL", "KERN_MODULE", "PROCTITLE"]
    assert len({one.event_id for one in EVENTS}) == len(EVENTS)


def test_a_command_reads_as_it_was_typed() -> None:
    event = find("EXECVE", resource="grep -r two words .")

    assert (event.user_id, event.server_hostname, event.action_result) == (
        "oleg",
        "web-01",
        "SUCCESS",
    )
    assert event.details is not None
    assert event.details["cwd"] == "/home/oleg/my notes"
    said = fields(event)
    assert (said["a0"][0], said["a1"][0], said["a2"][0]) == ("grep", "-r", "two words")
    assert said["syscall"] == ["59", "execve"], "public rules write the number or the name"
    assert said["proctitle"] == "grep -r two words ."
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("linux", "auditd")


def test_a_long_argument_comes_in_pieces() -> None:
    event = find("EXECVE", user_id="1000")

    assert event.resource == "python3 -c import time; time.sleep(1); print(1234567890)"
    assert event.server_hostname is None
    assert fields(event)["a2"][0] == "import time; time.sleep(1); print(1234567890)"


def test_a_path_is_whole_wherever_the_process_was() -> None:
    event = find("SYSCALL openat", resource="/root/.ssh/authorized_keys")

    assert fields(event)["name"] == ["/root/.ssh", "authorized_keys"]
    assert fields(event)["nametype"] == ["PARENT", "CREATE"]
    assert find("SYSCALL openat", resource="/etc/cron.d/backup job")


def test_who_logged_in_acts_whatever_user_they_became() -> None:
    assert find("ADD_USER").user_id == "nadia"
    assert find("ADD_USER").resource == "svc-update"
    failed = [one for one in EVENTS if one.event_type == "USER_AUTH" and one.user_id == "root"]
    assert {(one.action_result, one.client_ip) for one in failed} == {("FAILURE", "203.0.113.66")}
    assert find("USER_LOGIN", user_id="no such user").client_ip == "203.0.113.66"


def test_hosts_that_do_not_name_themselves_are_told_apart_by_what_they_say() -> None:
    one = read(f"type=USER_CMD {AT} pid=1 uid=0 auid=1000 msg='cmd=\"ls\" res=success'")
    other = read(f"type=USER_CMD {AT} pid=2 uid=0 auid=1000 msg='cmd=\"ls\" res=success'")
    named = read(f"node=a type=USER_CMD {AT} pid=2 uid=0 auid=1000")

    assert one.event_id.startswith("1767225600.123:77:")
    assert one.event_id != other.event_id
    assert named.event_id == "a:1767225600.123:77"


def test_several_keys_are_several_values() -> None:
    event = find("SYSCALL 257")

    assert fields(event)["key"] == ["cron", "etc"]
    assert event.action_result == "FAILURE"


def test_the_lines_are_kept() -> None:
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
def test_text_in_hexadecimal_is_read_where_text_can_be(value: str, name: str, decoded: str) -> None:
    assert fields(read(f"type=SYSCALL {AT} {name}={value} x=1"))[name] == decoded


def test_a_number_without_end_is_no_argument() -> None:
    event = read(f'type=EXECVE {AT} argc=1 a0="ls" a{"9" * 5000}="x"')

    assert event.resource == "ls"


MALFORMED = {
    "text": b"hello",
    "JSON": b'{"type": "SYSCALL"}',
    "no serial": b"type=SYSCALL msg=audit(1767225600.123): a=1",
    "no milliseconds": b"type=SYSCALL msg=audit(1767225600:77): a=1",
    "a time that is none": b"type=SYSCALL msg=audit(yesterday:77): a=1",
    "a small type": b"type=syscall msg=audit(1767225600.123:77): a=1",
    "not UTF-8": b"type=SYSCALL msg=audit(1767225600.123:78): comm=\xff",
    "a time beyond all calendars": b"type=SYSCALL msg=audit(99999999999999.123:77): a=1",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_record_is_refused_alone(name: str) -> None:
    good = f"type=SYSCALL {AT} success=yes".encode()

    found = list(auditd.records(good + b"\n" + MALFORMED[name]))

    assert [where for where, _ in found] == ["line 1", "line 2"]
    assert auditd.event_of(found[0][1]).action_result == "SUCCESS"
    with pytest.raises(ContractError):
        auditd.event_of(found[1][1])


def test_the_end_of_an_event_that_came_before_is_nothing() -> None:
    assert list(auditd.records(f"type=EOE {AT}\n\n \r\n".encode())) == []

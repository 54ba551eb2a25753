"""Ports."""

import os
import socket
import subprocess
import sys

import pytest

from auditflow_local import ports
from auditflow_local.errors import LocalError, PortTakenError
from auditflow_local.layout import PORTS, Choices


def test_a_taken_port_is_told_with_its_holder_and_the_way_out() -> None:
    # given a port on which we listen
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        # when it is wanted, then the sentence has all that a person needs
        with pytest.raises(PortTakenError) as error:
            ports.require(port, name="the API", variable="AUDITFLOW_PORT_API")
    for part in (str(port), "the API", f"process {os.getpid()}", "make up AUDITFLOW_PORT_API="):
        assert part in str(error.value)
    ports.require(port, name="the API", variable="AUDITFLOW_PORT_API")


def test_a_port_taken_on_all_addresses_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert not ports.is_free(listener.getsockname()[1])


def test_no_two_processes_pick_the_same_port() -> None:
    code = "from auditflow_local import ports; print(*(ports.pick() for _ in range(100)))"
    ours = {str(ports.pick()) for _ in range(100)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = set(done.stdout.split())
    assert len(ours) == len(theirs) == 100
    assert not ours & theirs


def test_ports_come_from_variables() -> None:
    choices = Choices.read({"AUDITFLOW_PORT_API": "8080", "AUDITFLOW_PORT_INGEST": ""})
    assert choices.ports["notification-service"] == 8080
    assert choices.ports["audit-event-generator"] == 5000
    assert choices.ports["event-audit-dashboard"] == 30080


def test_default_ports_are_not_those_that_the_system_gives_to_connections() -> None:
    assert all(choice.default < 32768 for choice in PORTS)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "8e3", "٨"])
def test_what_is_no_port_is_refused_by_its_variable(text: str) -> None:
    with pytest.raises(LocalError, match="AUDITFLOW_PORT_API"):
        Choices.read({"AUDITFLOW_PORT_API": text})


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(LocalError, match="AUDITFLOW_PORT_API and AUDITFLOW_PORT_INGEST"):
        Choices.read({"AUDITFLOW_PORT_API": "5000"})

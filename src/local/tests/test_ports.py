"""Ports."""

import os
import socket
import subprocess
import sys

import pytest

from auditflow_local import ports
from auditflow_local.errors import LocalError, PortTakenError
from auditflow_local.layout import PORTS, Choices


def test_the_error_for_a_used_port_names_the_process_and_the_variable() -> None:
    # given a port on which this process listens
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        # when a component needs it, then the error names the process and the variable
        with pytest.raises(PortTakenError) as error:
            ports.require_free(port, name="the API", variable="AUDITFLOW_PORT_API")
    for part in (str(port), "the API", f"process {os.getpid()}", "make up AUDITFLOW_PORT_API="):
        assert part in str(error.value)
    ports.require_free(port, name="the API", variable="AUDITFLOW_PORT_API")


def test_a_port_that_is_used_on_all_addresses_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert not ports.is_free(listener.getsockname()[1])


def test_no_two_processes_pick_the_same_port() -> None:
    code = "from auditflow_local import ports; print(*(ports.pick() for _ in range(100)))"
    first = {str(ports.pick()) for _ in range(100)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    second = set(done.stdout.split())
    assert len(first) == len(second) == 100
    assert not first & second


def test_ports_are_read_from_variables() -> None:
    choices = Choices.read({"AUDITFLOW_PORT_API": "8080", "AUDITFLOW_PORT_INGEST": ""})
    assert choices.ports["notification-service"] == 8080
    assert choices.ports["audit-event-generator"] == 5000
    assert choices.ports["event-audit-dashboard"] == 30080


def test_default_ports_are_below_the_range_of_client_connections() -> None:
    assert all(choice.default < 32768 for choice in PORTS)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "8e3", "٨"])
def test_the_error_for_an_invalid_port_names_the_variable(text: str) -> None:
    with pytest.raises(LocalError, match="AUDITFLOW_PORT_API"):
        Choices.read({"AUDITFLOW_PORT_API": text})


def test_a_port_for_two_components_is_refused() -> None:
    with pytest.raises(LocalError, match="AUDITFLOW_PORT_API and AUDITFLOW_PORT_INGEST"):
        Choices.read({"AUDITFLOW_PORT_API": "5000"})

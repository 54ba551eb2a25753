"""Lines of the log, as a process writes them."""

import json
import subprocess
import sys

_LOG_BOTH = """
import logging
from auditflow.telemetry import logs
logs.configure("test-service", level="INFO")
logs.get("our.module").debug("below the level")
logs.get("our.module").info("first", number=1, text="a\\nb\\u202e\\ud800", other=object)
logging.getLogger("library").warning("second")
try:
    raise ValueError("wrong")
except ValueError:
    logs.get("our.module").exception("third")
"""
_LOG_TO_CLOSED_PIPE = """
import os, sys
from auditflow.telemetry import logs
logs.configure("test-service")
os.close(1)
logs.get("our.module").info("nobody reads this")
sys.stderr.write("continued")
os._exit(0)
"""


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, check=True
    )


def test_our_lines_and_those_of_libraries_have_the_same_fields() -> None:
    lines = _run(_LOG_BOTH).stdout.splitlines()
    first, second, third = map(json.loads, lines)
    for line in (first, second, third):
        assert line["service"] == "test-service"
        assert line["timestamp"].endswith("Z")
    assert (first["event"], first["level"], first["logger"]) == ("first", "info", "our.module")
    assert (second["event"], second["level"], second["logger"]) == ("second", "warning", "library")
    assert third["level"] == "error"
    assert "ValueError: wrong" in third["exception"]


def test_a_line_contains_only_printable_ascii_characters() -> None:
    # A value must not add a line or change how a terminal shows one.
    for line in _run(_LOG_BOTH).stdout.splitlines():
        assert line.isascii()
        assert line.isprintable()


def test_a_log_that_cannot_be_written_does_not_fail_the_work() -> None:
    assert _run(_LOG_TO_CLOSED_PIPE).stderr == "continued"

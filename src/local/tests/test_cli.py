"""The commands of `auditflow-local`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditflow_local import logs, secrets, state
from auditflow_local.cli import main
from auditflow_local.identity import Identity
from auditflow_local.layout import PORTS, Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    for choice in PORTS:
        monkeypatch.delenv(choice.variable, raising=False)
    return Layout((tmp_path / ".auditflow").resolve())


def call(layout: Layout, *words: str) -> Result:
    return CliRunner().invoke(main, ["--directory", str(layout.root), *words])


def test_help_lists_the_commands_and_the_variables(layout: Layout) -> None:
    shown = call(layout, "--help").output
    for word in ("up", "down", "reset", "logs", "status", "AUDITFLOW_PORT_DASHBOARD"):
        assert word in shown


def test_an_invalid_port_is_an_error_message(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITFLOW_PORT_API", "http")
    done = call(layout, "up")
    assert done.exit_code == 1
    assert done.output == (
        "Error: AUDITFLOW_PORT_API: a port is a number from 1 to 65535, not 'http'\n"
    )


def test_down_when_nothing_runs(layout: Layout) -> None:
    done = call(layout, "down")
    assert (done.exit_code, done.output) == (0, "AuditFlow is not running\n")


def test_status_reports_a_stopped_stack_with_exit_code_1(layout: Layout) -> None:
    done = call(layout, "status")
    assert done.exit_code == 1
    assert done.output.count("stopped") == 8
    assert "make up" in done.output


def test_reset_asks_for_confirmation_and_keeps_the_tools(layout: Layout) -> None:
    # given data and tools
    for name in ("servers/redis", "secrets", "tools"):
        (layout.root / name).mkdir(parents=True)

    # when it is called without a terminal and without --yes
    done = call(layout, "reset")

    # then it refuses and names the option
    assert done.exit_code == 1
    assert "--yes" in done.output
    assert (layout.root / "servers").exists()

    # and with --yes it deletes the data and nothing else
    assert call(layout, "reset", "--yes").exit_code == 0
    assert [path.name for path in layout.root.iterdir()] == ["tools"]


def test_while_another_process_runs_the_stack(layout: Layout) -> None:
    # given a stack that another process runs
    with state.lock(layout) as acquired:
        assert acquired
        other = subprocess.Popen(["sleep", "60"])
        try:
            identity = Identity.of(other.pid)
            assert identity is not None
            ports = {choice.name: choice.default for choice in PORTS}
            state.State(identity.pid, identity.started, "ready", ports).write(layout)
            password = secrets.Store(layout.secrets).get("DASHBOARD_PASSWORD")

            # then up reports that it runs, with the address
            up = call(layout, "up")
            assert up.exit_code == 0, up.output
            assert f"already running (process {other.pid})" in up.output
            assert "http://localhost:30080" in up.output

            # and the output names the files of secrets, but contains no secret
            unwrapped = "".join(up.output.translate(dict.fromkeys(map(ord, "│ \n"))))
            assert "secrets/DASHBOARD_PASSWORD" in unwrapped
            assert password not in unwrapped

            # and reset refuses
            reset = call(layout, "reset", "--yes")
            assert reset.exit_code == 1
            assert "make down" in reset.output
        finally:
            other.kill()
            other.wait()


def test_logs_shows_json_as_text(layout: Layout) -> None:
    # given the logs of a service and of a server
    layout.logs.mkdir(parents=True)
    record = {
        "timestamp": "2026-01-02T03:04:05.678901Z",
        "level": "warning",
        "event": "message dead-lettered",
        "reason": "[not json]",
        "service": "audit-log-analysis",
    }
    layout.log("audit-log-analysis").write_text(json.dumps(record) + "\n")
    layout.log("redis").write_text("Ready to accept connections\n")

    # then each line is readable and starts with the name of its component
    shown = call(layout, "logs").output.splitlines()
    assert any(
        line.split() == ["redis", *["Ready", "to", "accept", "connections"]] for line in shown
    )
    assert [line.split() for line in shown if "dead" in line] == [
        [
            *("audit-log-analysis", "03:04:05.678", "warning", "message", "dead-lettered"),
            *("reason=[not", "json]"),
        ]
    ]


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"a": 1}', "[red]", ""])
def test_lines_that_are_no_json_records_are_shown_unchanged(line: str) -> None:
    assert logs.pretty("redis", line)


def test_the_error_for_an_unknown_service_lists_the_known_services(layout: Layout) -> None:
    done = call(layout, "logs", "mysql")
    assert done.exit_code == 2
    assert "notification-service" in done.output


def test_following_yields_complete_lines_also_after_a_log_was_replaced(tmp_path: Path) -> None:
    # given a log that is followed
    file = tmp_path / "redis.log"
    file.write_text("old, and long enough\n")
    lines = logs.follow({"redis": file})
    code = (
        "import sys, time; p = sys.argv[1]; f = open(p, 'a'); time.sleep(0.5)\n"
        "f.write('first\\nsec'); f.flush(); time.sleep(0.5); f.write('ond\\n'); f.close()\n"
        "time.sleep(0.5); open(p, 'w').write('third\\n')"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(file)])

    # then the lines are complete and in order
    assert [next(lines)[1] for _ in range(3)] == ["first", "second", "third"]
    writer.wait()

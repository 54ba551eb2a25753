"""The commands, as a person types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditflow_local import logs, state
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


def test_help_names_the_commands_and_the_variables(layout: Layout) -> None:
    shown = call(layout, "--help").output
    for word in ("up", "down", "reset", "logs", "status", "AUDITFLOW_PORT_DASHBOARD"):
        assert word in shown


def test_a_wrong_port_is_a_sentence(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITFLOW_PORT_API", "http")
    done = call(layout, "up")
    assert done.exit_code == 1
    assert done.output == (
        "Error: AUDITFLOW_PORT_API: a port is a number from 1 to 65535, not 'http'\n"
    )


def test_down_when_nothing_runs(layout: Layout) -> None:
    done = call(layout, "down")
    assert (done.exit_code, done.output) == (0, "AuditFlow is not running\n")


def test_status_says_that_nothing_runs_and_fails(layout: Layout) -> None:
    done = call(layout, "status")
    assert done.exit_code == 1
    assert done.output.count("stopped") == 7
    assert "make up" in done.output


def test_reset_asks_first_and_leaves_the_tools(layout: Layout) -> None:
    # given data and tools
    for name in ("servers/redis", "secrets", "tools"):
        (layout.root / name).mkdir(parents=True)

    # when it is called without a terminal and without --yes
    done = call(layout, "reset")

    # then it refuses, and says how to say yes
    assert done.exit_code == 1
    assert "--yes" in done.output
    assert (layout.root / "servers").exists()

    # and with --yes the data are gone, and only they
    assert call(layout, "reset", "--yes").exit_code == 0
    assert [path.name for path in layout.root.iterdir()] == ["tools"]


def test_while_another_process_runs_the_stack(layout: Layout) -> None:
    # given a stack that another process runs
    with state.hold(layout) as held:
        assert held
        other = subprocess.Popen(["sleep", "60"])
        try:
            identity = Identity.of(other.pid)
            assert identity is not None
            ports = {choice.name: choice.default for choice in PORTS}
            state.State(identity.pid, identity.started, "ready", ports).write(layout)

            # then up says so, with the address
            up = call(layout, "up")
            assert up.exit_code == 0, up.output
            assert f"up already (process {other.pid})" in up.output
            assert "http://localhost:30080" in up.output

            # and reset refuses
            reset = call(layout, "reset", "--yes")
            assert reset.exit_code == 1
            assert "make down" in reset.output
        finally:
            other.kill()
            other.wait()


def test_logs_shows_json_as_sentences(layout: Layout) -> None:
    # given a service's log and a server's
    layout.logs.mkdir(parents=True)
    said = {
        "timestamp": "2026-01-02T03:04:05.678901Z",
        "level": "warning",
        "event": "message dead-lettered",
        "reason": "[not json]",
        "service": "audit-log-analysis",
    }
    layout.log("audit-log-analysis").write_text(json.dumps(said) + "\n")
    layout.log("redis").write_text("Ready to accept connections\n")

    # then each line is readable, with who said it
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
def test_lines_that_are_no_records_are_shown_as_they_are(line: str) -> None:
    assert logs.pretty("redis", line)


def test_logs_of_an_unknown_service_names_the_known(layout: Layout) -> None:
    done = call(layout, "logs", "mysql")
    assert done.exit_code == 2
    assert "notification-service" in done.output


def test_following_gives_whole_lines_also_after_a_log_was_put_aside(tmp_path: Path) -> None:
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

    # then lines come whole and in order
    assert [next(lines)[1] for _ in range(3)] == ["first", "second", "third"]
    writer.wait()

"""Children, who they are, and that none stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from auditflow_local.errors import StartError
from auditflow_local.identity import Identity, Record
from auditflow_local.processes import Child, Command, end_recorded, environment
from auditflow_local.supervision import Supervisor, waiting_seconds

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("on", flush=True)
time.sleep(60)
"""


def child(folder: Path, *, stop_seconds: float = 10.0) -> Child:
    return Child(
        "worker", log=folder / "worker.log", record=folder / "r.process", stop_seconds=stop_seconds
    )


def python(code: str) -> Command:
    return Command(argv=(sys.executable, "-c", textwrap.dedent(code)))


def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_process_is_more_than_its_number() -> None:
    # given a process
    process = subprocess.Popen(["sleep", "60"])
    identity = Identity.of(process.pid)
    assert identity is not None
    assert identity.alive

    # when a signal is meant for an earlier process of the same number
    Identity(identity.pid, identity.started - 1).signal(signal.SIGKILL)

    # then it does not reach this one, and the right identity does
    assert process.poll() is None
    identity.signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert not identity.alive


def test_a_child_that_does_not_end_is_killed_with_its_family(tmp_path: Path) -> None:
    # given a process that ignores SIGTERM and has a child
    worker = child(tmp_path, stop_seconds=0.2)
    worker.spawn(python(f"import subprocess; subprocess.Popen(['sleep', '77'])\n{STUBBORN}"))
    until(lambda: "on" in worker.log.read_text())
    assert worker.pid
    identity = Identity.of(worker.pid)
    assert identity is not None
    family = identity.family()
    assert len(family) == 2

    # when it is stopped
    worker.stop()

    # then both are gone, and so is the record
    assert not any(one.alive for one in family)
    assert not worker.record.exists()


def test_a_child_that_dies_while_starting_says_what_it_said(tmp_path: Path) -> None:
    worker = child(tmp_path)
    worker.spawn(python("print('no database'); raise SystemExit(3)"))
    with pytest.raises(StartError, match=r"worker ended with code 3(.|\n)*no database"):
        worker.wait_ready(lambda: False, seconds=10)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="has no program no-such-program"):
        child(tmp_path).spawn(Command(argv=("no-such-program",)))


def test_what_a_killed_program_left_behind_is_ended_by_the_next(tmp_path: Path) -> None:
    # given a process whose parent forgot it
    forgotten = child(tmp_path)
    forgotten.spawn(Command(argv=("sleep", "60")))
    record = Record.read(forgotten.record)
    assert record is not None

    # when a new run starts the same part
    worker = child(tmp_path)
    worker.spawn(Command(argv=("sleep", "60")))

    # then the old one is gone
    assert not record.identity.alive
    assert not forgotten.running
    assert end_recorded(worker.record) == "worker"
    assert end_recorded(worker.record) is None
    assert not worker.running


def test_a_person_s_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "mine")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    seen = environment(PORT="1")
    assert seen["PORT"] == "1"
    assert seen["PATH"]
    assert not {"PG_PASSWORD", "PYTHONPATH"} & seen.keys()


def test_who_dies_often_waits_longer() -> None:
    assert [waiting_seconds(deaths) for deaths in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_the_supervisor_starts_again_what_died(tmp_path: Path) -> None:
    # given a watched part
    class Part:
        name = "worker"

        def __init__(self) -> None:
            self.child = child(tmp_path)

        @property
        def running(self) -> bool:
            return self.child.running

        def start(self) -> None:
            self.child.spawn(Command(argv=("sleep", "60")))

        revive = start

        def stop(self) -> None:
            self.child.stop()

        def kill(self) -> None:
            self.child.kill()

    part = Part()
    messages: list[str] = []
    part.start()
    first = part.child.pid
    assert first is not None
    supervisor = Supervisor([part], messages.append)
    supervisor.start()
    try:
        # when it is killed
        os.kill(first, signal.SIGKILL)

        # then another takes its place, and that is reported
        until(lambda: part.child.pid not in {first, None})
        until(lambda: "worker runs again" in messages)
        assert messages[0] == "worker ended by itself; starting it again now"
    finally:
        supervisor.let_go()
        part.stop()
        supervisor.join()


def test_a_killed_test_run_leaves_no_server_behind(tmp_path: Path) -> None:
    # given a test run of its own that has a server and then hangs
    (tmp_path / "test_hangs.py").write_text(
        textwrap.dedent(
            """
            import time
            from pathlib import Path

            def test_hangs(redis_server):
                Path("pid").write_text(str(redis_server.pid))
                time.sleep(60)
            """
        ),
        encoding="utf-8",
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=tmp"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 30)
    server = Identity.of(int((tmp_path / "pid").read_text()))
    assert server is not None

    # when the run is killed
    run.kill()
    run.wait()

    # then its server ends too
    until(lambda: not server.alive)

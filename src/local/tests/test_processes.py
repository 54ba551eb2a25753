"""Child processes: identity, stop, restart, and no process left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from auditflow_local.errors import StartError
from auditflow_local.identity import Identity, Record
from auditflow_local.polling import eventually
from auditflow_local.processes import Child, Command, environment, stop_recorded
from auditflow_local.supervision import Supervisor, backoff_seconds

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


def test_a_signal_does_not_reach_a_process_that_reuses_the_pid() -> None:
    # given a process
    process = subprocess.Popen(["sleep", "60"])
    identity = Identity.of(process.pid)
    assert identity is not None
    assert identity.alive

    # when a signal is sent to an earlier process with the same pid
    Identity(identity.pid, identity.started - 1).signal(signal.SIGKILL)

    # then it does not reach this process, and a signal to its own identity does
    assert process.poll() is None
    identity.signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not identity.alive


def test_a_child_that_ignores_sigterm_is_killed_with_its_descendants(tmp_path: Path) -> None:
    # given a process that ignores SIGTERM and has a child
    worker = child(tmp_path, stop_seconds=0.2)
    worker.spawn(python(f"import subprocess; subprocess.Popen(['sleep', '77'])\n{STUBBORN}"))
    eventually(lambda: "on" in worker.log.read_text())
    assert worker.pid
    identity = Identity.of(worker.pid)
    assert identity is not None
    tree = identity.process_tree()
    assert len(tree) == 2

    # when it is stopped
    worker.stop()

    # then both have ended, and the record was removed
    assert not any(process.alive for process in tree)
    assert not worker.record.exists()


def test_the_error_of_a_child_that_ends_at_its_start_contains_its_output(tmp_path: Path) -> None:
    worker = child(tmp_path)
    worker.spawn(python("print('no database'); raise SystemExit(3)"))
    with pytest.raises(StartError, match=r"worker ended with code 3(.|\n)*no database"):
        worker.wait_ready(lambda: False, seconds=60)


def test_the_error_names_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="has no program no-such-program"):
        child(tmp_path).spawn(Command(argv=("no-such-program",)))


def test_a_process_of_a_killed_run_is_stopped_by_the_next_run(tmp_path: Path) -> None:
    # given a process of an earlier run
    earlier = child(tmp_path)
    earlier.spawn(Command(argv=("sleep", "60")))
    record = Record.read(earlier.record)
    assert record is not None

    # when a new run starts the same component
    worker = child(tmp_path)
    worker.spawn(Command(argv=("sleep", "60")))

    # then the earlier process has ended
    assert not record.identity.alive
    assert not earlier.running
    assert stop_recorded(worker.record) == "worker"
    assert stop_recorded(worker.record) is None
    assert not worker.running


def test_a_child_does_not_inherit_the_user_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "mine")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    child_environment = environment(PORT="1")
    assert child_environment["PORT"] == "1"
    assert child_environment["PATH"]
    assert not {"PG_PASSWORD", "PYTHONPATH"} & child_environment.keys()


def test_the_restart_delay_grows_exponentially_to_a_maximum() -> None:
    assert [backoff_seconds(exits) for exits in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_the_supervisor_restarts_a_killed_component(tmp_path: Path) -> None:
    # given a supervised component
    class Worker:
        name = "worker"

        def __init__(self) -> None:
            self.child = child(tmp_path)

        @property
        def running(self) -> bool:
            return self.child.running

        def start(self) -> None:
            self.child.spawn(Command(argv=("sleep", "60")))

        respawn = start

        def stop(self) -> None:
            self.child.stop()

        def kill(self) -> None:
            self.child.kill()

    worker = Worker()
    messages: list[str] = []
    worker.start()
    first = worker.child.pid
    assert first is not None
    supervisor = Supervisor([worker], messages.append)
    supervisor.start()
    try:
        # when it is killed
        os.kill(first, signal.SIGKILL)

        # then it is restarted, and the restart is reported
        eventually(lambda: worker.child.pid not in {first, None})
        eventually(lambda: "worker was restarted" in messages)
        assert messages[0] == "worker ended unexpectedly; restarting it now"
    finally:
        supervisor.stop_restarting()
        worker.stop()
        supervisor.join()


def test_the_supervisor_retries_a_failed_restart_with_a_growing_delay() -> None:
    # given a component that ends at once, after every start
    class Broken:
        name = "worker"
        running = False
        starts = 0

        def start(self) -> None:
            self.starts += 1
            raise StartError("worker", "ended with code 1", Path("/nonexistent"))

        respawn = start

        def stop(self) -> None: ...

        kill = stop

    component = Broken()
    messages: list[str] = []
    supervisor = Supervisor([component], messages.append)

    # when it is supervised until the third restart
    supervisor.start()
    eventually(lambda: component.starts >= 3)
    supervisor.stop_restarting()
    supervisor.join()

    # then each delay is longer, and every failure is reported with its reason
    restarts = [message for message in messages if "restarting" in message]
    assert restarts[:3] == [
        "worker ended unexpectedly; restarting it now",
        "worker ended unexpectedly; restarting it in 1 s",
        "worker ended unexpectedly; restarting it in 2 s",
    ]
    assert sum("ended with code 1" in message for message in messages) >= 2


def test_the_servers_of_a_killed_test_run_are_stopped(tmp_path: Path) -> None:
    # given a separate test run with a server that hangs
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
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    server = Identity.of(int((tmp_path / "pid").read_text()))
    assert server is not None

    # when the run is killed
    run.kill()
    run.wait()

    # then its server is stopped
    eventually(lambda: not server.alive)

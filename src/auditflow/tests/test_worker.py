"""An exception that escapes a worker thread is reported, and ends the process of a service."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from auditflow import worker
from auditflow.worker import Worker, lower_priority
from auditflow_local.polling import eventually


@pytest.fixture(autouse=True)
def forget_failures() -> Iterator[None]:
    yield
    worker._failures.clear()


def fail() -> None:
    raise KeyError("missing")


def test_a_worker_that_was_not_started_does_not_run() -> None:
    assert Worker("reader", fail).check() == "the thread reader does not run"


def test_a_running_worker_has_no_problem_also_after_its_stop() -> None:
    end = threading.Event()
    running = Worker("reader", end.wait)  # type: ignore[arg-type]
    running.start()
    assert running.check() is None
    end.set()
    running.stop(timeout=60)
    assert running.check() is None


def test_a_worker_that_returns_without_a_stop_does_not_run() -> None:
    ended = Worker("reader", lambda: None)
    ended.start()
    eventually(lambda: ended.check() == "the thread reader does not run")


def test_the_reason_of_a_failure_is_reported_also_after_a_stop() -> None:
    failed = Worker("reader", fail)
    failed.start()
    failed.stop(timeout=60)
    assert failed.check() == "the thread reader failed: KeyError: 'missing'"
    assert worker.failure() == failed.check()


SERVICE = """
    from auditflow import worker
    from auditflow.http import serving
    from auditflow.settings import ServiceSettings

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    def run(loaded):
        def fail():
            raise KeyError("missing")
        {prepare}
        free_port = loaded.model_copy(update={"port": 0})
        serving.serve(app, free_port, mode="wsgi")

    serving.start("test", ServiceSettings, run)
"""


@pytest.mark.parametrize("when", ["before serving", "while serving"])
def test_a_failure_ends_the_process_with_a_logged_reason(when: str) -> None:
    # Given a service that serves, or is about to serve, when one of its threads fails
    prepare = {
        "before serving": 'worker.Worker("reader", fail).start(); import time; time.sleep(60)',
        "while serving": (
            "import threading;"
            'threading.Timer(1, lambda: worker.Worker("reader", fail).start()).start()'
        ),
    }[when]
    code = textwrap.dedent(SERVICE).replace("{prepare}", prepare)
    environment = {"PORT": "1", "HOST": "127.0.0.1"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output, _ = process.communicate(timeout=60)
    # then the process ends with an error, and the log contains the reason
    assert process.returncode == (worker.EXIT_CODE if when == "while serving" else -signal.SIGTERM)
    lines = [json.loads(line) for line in output.splitlines()]
    (failed,) = [line for line in lines if line.get("thread") == "reader"]
    assert failed["level"] == "critical"
    assert "KeyError: 'missing'" in failed["exception"]


def test_a_worker_can_have_a_lower_priority_than_the_process() -> None:
    found: dict[str, int] = {}
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def record(name: str) -> None:
        found[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    nice = Worker("nice", lambda: record("nice"), niceness=7)
    nice.start()
    nice.stop(timeout=60)
    record("main")

    assert found == {"nice": max(7, own), "main": own}


def test_the_priority_of_a_thread_is_never_raised() -> None:
    found: list[int] = []

    def lower_twice() -> None:
        lower_priority(11)
        lower_priority(3)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    worker = Worker("twice", lower_twice)
    worker.start()
    worker.stop(timeout=60)

    assert found[0] >= 11

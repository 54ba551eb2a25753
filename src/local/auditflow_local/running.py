"""The process that runs the stack: in the foreground, or in the background with a log file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rich.console import Console

from auditflow_local import panel, secrets
from auditflow_local.errors import LocalError, StartError
from auditflow_local.identity import Identity
from auditflow_local.layout import Choices, Layout
from auditflow_local.progress import Progress
from auditflow_local.stack import Stack
from auditflow_local.state import State


def run(layout: Layout, choices: Choices, console: Console) -> int:
    """Start the stack, supervise it until SIGINT or SIGTERM, and stop it. Returns the exit code.

    Raises:
        LocalError: it did not start. Everything was stopped again.
    """
    secrets.make_private(layout.root)
    start = time.monotonic()
    progress = Progress(console)
    with _signals_interrupt():
        _write_state(layout, choices, "starting")
        stack = Stack(layout, choices, progress)
        try:
            stack.start()
            stack.watch()
            _write_state(layout, choices, "ready")
            console.print(f"\n All ready after {time.monotonic() - start:.1f} s\n")
            panel.show(console, layout, choices.ports, detached=False, tls=choices.tls)
            while True:
                signal.pause()
        except KeyboardInterrupt:
            console.print("\n Stopping. Press Ctrl-C again to kill everything at once.")
        finally:
            _write_state(layout, choices, "stopping")
            _stop(stack)
            layout.state.unlink(missing_ok=True)
    console.print(" Stopped. The data are kept.")
    return 0


def detach(layout: Layout, console: Console) -> Mapping[str, int]:
    """Start the stack in the background, print its steps, and return its ports when it is ready.

    Raises:
        LocalError: it did not start. The log and the console show the reason.
    """
    log = layout.log("stack")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            (sys.executable, "-m", "auditflow_local", "--directory", str(layout.root), "up"),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    printed = 0
    while True:
        ended = process.poll() is not None
        current = State.read(layout)
        ready = current is not None and current.pid == process.pid and current.phase == "ready"
        steps = log.read_text(encoding="utf-8", errors="replace").split("\n All ready", 1)[0]
        complete = steps.rfind("\n") + 1
        if complete > printed:
            console.print(steps[printed:complete], end="", markup=False)
            printed = complete
        if ready and current:
            return current.ports
        if ended:
            raise StartError("AuditFlow", f"ended with code {process.returncode}", log)
        time.sleep(0.1)


def request_stop(current: State) -> None:
    """Send SIGTERM to the process that runs the stack."""
    current.identity.signal(signal.SIGTERM)


def _stop(stack: Stack) -> None:
    try:
        stack.stop()
    except KeyboardInterrupt:
        stack.kill()
    except LocalError:
        stack.kill()
        raise


def _write_state(layout: Layout, choices: Choices, phase: str) -> None:
    identity = Identity.of(os.getpid())
    if identity is None:
        raise LocalError("/proc does not contain this process; is it mounted?")
    State(
        pid=identity.pid,
        started=identity.started,
        phase=phase,
        ports=dict(choices.ports),
        tls=choices.tls,
    ).write(layout)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the stack like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    previous = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

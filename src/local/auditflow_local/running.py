"""The process that runs the stack: in the foreground, or on its own behind a log."""

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
    """Start, watch until SIGINT or SIGTERM, stop. The exit code: 0, or 1 if it could not start.

    Raises:
        LocalError: it could not start; everything has been stopped again.
    """
    secrets.private(layout.root)
    began = time.monotonic()
    progress = Progress(console)
    with _signals_interrupt():
        _say_state(layout, choices, "starting")
        stack = Stack(layout, choices, progress)
        try:
            stack.start()
            stack.watch()
            _say_state(layout, choices, "ready")
            console.print(f"\n All ready after {time.monotonic() - began:.1f} s\n")
            panel.show(console, layout, choices.ports, detached=False)
            while True:
                signal.pause()
        except KeyboardInterrupt:
            console.print("\n Stopping; once more Ctrl-C ends it at once")
        finally:
            _say_state(layout, choices, "stopping")
            _end(stack)
            layout.state.unlink(missing_ok=True)
    console.print(" Stopped. The data are still there.")
    return 0


def detach(layout: Layout, console: Console) -> Mapping[str, int]:
    """Start the stack as a process of its own, show its steps, return its ports when it is ready.

    Raises:
        LocalError: it could not start. Its log has said why, and so has the console.
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
    shown = 0
    while True:
        ended = process.poll() is not None
        current = State.read(layout)
        ready = current is not None and current.pid == process.pid and current.phase == "ready"
        steps = log.read_text(encoding="utf-8", errors="replace").split("\n All ready", 1)[0]
        whole = steps.rfind("\n") + 1
        if whole > shown:
            console.print(steps[shown:whole], end="", markup=False)
            shown = whole
        if ready and current:
            return current.ports
        if ended:
            raise StartError("AuditFlow", f"ended with code {process.returncode}", log)
        time.sleep(0.1)


def ask_to_stop(current: State) -> None:
    """SIGTERM to the process that runs the stack."""
    current.identity.signal(signal.SIGTERM)


def _end(stack: Stack) -> None:
    try:
        stack.stop()
    except KeyboardInterrupt:
        stack.kill()
    except LocalError:
        stack.kill()
        raise


def _say_state(layout: Layout, choices: Choices, phase: str) -> None:
    me = Identity.of(os.getpid())
    if me is None:
        raise LocalError("/proc does not know this process; is it mounted?")
    State(pid=me.pid, started=me.started, phase=phase, ports=dict(choices.ports)).write(layout)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end the stack as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

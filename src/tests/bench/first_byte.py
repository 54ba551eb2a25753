"""Time to the first byte of the dashboard's list of alerts, with many alerts.

``python -m src.tests.bench.first_byte --alerts 100000`` starts a private PostgreSQL, the API and the
dashboard. Requests are sequential, as those of one analyst. For the first request after the start,
the CPU time of the dashboard and of the API is measured too: other programs do not change it.
"""

import http.client
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
import httpx
from msgspec import Struct

from auditflow_local import ports

from . import alerts_at_scale

_PROGRAM: Final = "from event_audit_dashboard.main import main; main()"
_PATHS: Final = ("/alerts?status=open%2Cacknowledged", "/alerts", "/login")


class Measured(Struct, frozen=True):
    """Milliseconds to the first byte of each request.

    ``first_cpu`` is the CPU time of the dashboard and of the API for the first request, in
    milliseconds.
    """

    durations: list[float]
    first_cpu: float


def measure(alerts: int, requests: int) -> dict[str, Measured]:
    """The measurement of each path."""
    with alerts_at_scale.database(alerts) as settings:
        api_port = ports.pick()
        process = get_context("spawn").Process(
            target=alerts_at_scale.serve, args=(settings, api_port), daemon=True
        )
        process.start()
        try:
            with _dashboard(api_port) as (address, password, dashboard_pid):
                cookie = _sign_in(address, password)
                pids = (dashboard_pid, process.pid or 0)
                return {
                    path: _first_bytes(address, path, cookie, requests, pids) for path in _PATHS
                }
        finally:
            process.terminate()
            process.join(10)


@contextmanager
def _dashboard(api_port: int) -> Iterator[tuple[str, str, int]]:
    """The address, the password and the process identifier of a dashboard."""
    port, password = ports.pick(), secrets.token_hex(8)
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "NOTIFICATION_SERVICE_HOST": "127.0.0.1",
        "NOTIFICATION_SERVICE_PORT": str(api_port),
        "API_TOKEN": alerts_at_scale.TOKEN,
        "DASHBOARD_PASSWORD": password,
        "SESSION_SECRET": secrets.token_hex(32),
        "LOG_LEVEL": "WARNING",
    }
    address = f"127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], env=os.environ | environment) as server:
        try:
            deadline = time.monotonic() + 60
            while not _is_ready(address):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise click.ClickException("the dashboard does not become ready")
                time.sleep(0.1)
            yield address, password, server.pid
        finally:
            server.terminate()


def _is_ready(address: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{address}/readyz", trust_env=False).status_code == 200
    return False


def _sign_in(address: str, password: str) -> str:
    with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
        data = {"user": "admin", "password": password, "csrf_token": token[1] if token else ""}
        client.post("/login", data=data)
        return f"auditflow={client.cookies['auditflow']}"


def _first_bytes(
    address: str, path: str, cookie: str, number: int, pids: Sequence[int]
) -> Measured:
    client = http.client.HTTPConnection(address, timeout=60)
    durations: list[float] = []
    first_cpu = 0.0
    for _ in range(number):
        before = _cpu_ms(pids)
        started = time.perf_counter()
        client.request("GET", path, headers={"Cookie": cookie, "Accept-Encoding": "gzip"})
        answer = client.getresponse()  # it has read the first bytes
        durations.append((time.perf_counter() - started) * 1000)
        answer.read()
        if len(durations) == 1:
            first_cpu = _cpu_ms(pids) - before
        if answer.status not in {http.HTTPStatus.OK, http.HTTPStatus.FOUND}:
            raise click.ClickException(f"{path}: {answer.status}")
    client.close()
    return Measured(durations, first_cpu)


def _cpu_ms(pids: Sequence[int]) -> float:
    """CPU time of all threads of some processes, in milliseconds. The kernel counts nanoseconds."""
    nanoseconds = 0
    for task in (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()):
        with suppress(OSError):  # the thread has ended
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e6


@click.command()
@click.option("--alerts", default=100_000, show_default=True)
@click.option("--requests", default=100, show_default=True)
def main(alerts: int, requests: int) -> None:
    """Print the first request, the median and the 90th percentile for each path."""
    for path, measured in measure(alerts, requests).items():
        ordered = sorted(measured.durations)
        click.echo(
            f"{path}: first {measured.durations[0]:.1f} ms"
            f" ({measured.first_cpu:.1f} ms of CPU), p50 {statistics.median(ordered):.1f} ms,"
            f" p90 {ordered[int(len(ordered) * 0.9)]:.1f} ms"
        )


if __name__ == "__main__":
    main()

"""A service is served, and ends in order: requests in flight end, the process with them."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import httpx
import pytest

from .conftest import eventually

SAMPLE = """
    from flask import Flask
    from auditflow.http import serving
    from auditflow.settings import ServiceSettings

    class Settings(ServiceSettings):
        pass

    def run(settings):
        app = Flask("sample")
        app.add_url_rule("/", "root", lambda: "hello")
        app.add_url_rule("/nothing", "nothing", lambda: ("", 204))
        serving.serve(app, settings, mode="wsgi", on_stop=lambda: print('{"stopped": 1}', flush=True))

    serving.start("sample", Settings, run)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def served(port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SAMPLE)],
        env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/", verify=False).status_code == 200
        except httpx.TransportError:
            return False

    eventually(answers)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("served")
def test_an_answer_without_a_body_is_an_answer(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    assert httpx.head(f"{url}/", verify=False).status_code == 200
    assert httpx.get(f"{url}/nothing", verify=False).status_code == 204


def test_sigterm_ends_it_in_order(served: subprocess.Popen[str]) -> None:
    served.send_signal(signal.SIGTERM)
    out, _ = served.communicate(timeout=10)
    lines = [json.loads(line) for line in out.splitlines()]
    assert served.returncode == 0
    assert {"stopped": 1} in lines
    assert {line.get("service") for line in lines if "event" in line} == {"sample"}


def test_missing_settings_end_it_with_a_sentence() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SAMPLE)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "PORT: is not set" in done.stderr
    assert "Traceback" not in done.stderr

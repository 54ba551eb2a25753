"""A service is served over HTTP, and ends in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from typing import Any

import httpx
import pytest

from auditflow_local import ports
from auditflow_local.polling import eventually

from .served import SAMPLE, Serve


def test_a_response_without_a_body_is_sent(serve: Serve) -> None:
    served = serve()
    assert httpx.head(served.url("/"), verify=False).status_code == 200
    assert served.get("/nothing").status_code == 204


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_a_short_response_is_written_once(serve: Serve, mode: str) -> None:
    served = serve(mode)
    before, after = (
        httpx.get(served.url("/writes"), headers={"Connection": "close"}, verify=False).text
        for _ in range(2)
    )
    # Without a known length, a chunk with the end of the body follows.
    assert int(after) - int(before) == (1 if mode == "wsgi" else 2)


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_the_start_of_a_response_does_not_wait_for_its_end(serve: Serve, mode: str) -> None:
    served = serve(mode)
    with httpx.stream("GET", served.url("/wait"), verify=False, timeout=60) as answer:
        assert answer.status_code == 200
        parts = answer.iter_text()
        received = next(parts) if mode == "wsgi" else ""
        assert received == ("first " if mode == "wsgi" else "")
        assert served.get("/release").status_code == 200
        assert "".join([received, *parts]) == ("first last" if mode == "wsgi" else "1.1")


def test_sigterm_ends_the_process_in_order(serve: Serve) -> None:
    process = serve().process
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert {"stopped": 1} in lines
    assert {line.get("service") for line in lines if "event" in line} == {"sample"}


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({}, "PORT: is not set"),
        ({"PORT": "1", "TLS_CERT_FILE": __file__, "TLS_KEY_FILE": __file__}, "cannot be used"),
    ],
)
def test_wrong_settings_end_the_process_with_a_reason(
    variables: dict[str, str], error: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SAMPLE)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert error in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["wsgi", "asgi"])
def test_metrics_have_their_own_port(serve: Serve, mode: str) -> None:
    port = ports.pick()
    served = serve(mode, METRICS_PORT=str(port))

    def get(path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{port}{path}", verify=False)

    def listens() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens)
    assert get("/metrics").status_code == 200
    assert get("/healthz").json() == {"status": "alive", "service": "sample"}
    assert get("/readyz").json()["status"] == "ready"
    assert get("/size").status_code == 404
    for path in ("/metrics", "/metrics/", "/metrics?x"):
        assert served.get(path).status_code == 404
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=60)
    assert served.process.returncode == 0


def test_without_their_own_port_the_main_port_serves_metrics(serve: Serve) -> None:
    assert serve().get("/metrics").text == "main port"

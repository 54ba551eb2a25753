"""A sample service in its own process, and its certificates, for tests of serving."""

import os
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import trustme

from auditflow_local import ports
from auditflow_local.polling import eventually

SAMPLE = """
    import asyncio, sys, threading
    from flask import Flask, request
    from prometheus_client import CollectorRegistry
    from auditflow.http import certificate, http2, serving, wsgi
    from auditflow.http.health import Health
    from auditflow.http.probes import Probes
    from auditflow.settings import ServiceSettings

    certificate.HANDSHAKES = 4
    http2.READ_SECONDS = 1
    serving.CERTIFICATE_SECONDS = 0.1
    wsgi.BODY_SECONDS = 2
    LARGE = "large" in sys.argv
    if LARGE:
        serving.WSGI_BODY_BYTES = serving.MAX_BODY_BYTES
        wsgi.BODIES = 2

    class Settings(ServiceSettings):
        pass

    writes = []
    write = asyncio.StreamWriter.write

    def count_write(self, data):
        writes.append(data)
        write(self, data)

    asyncio.StreamWriter.write = count_write
    released = threading.Event()

    async def asgi(scope, receive, send):
        if scope["type"] != "http":
            return
        path, body = scope["path"], scope["http_version"].encode()
        if path == "/writes":
            body = str(len(writes)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/release":
            released.set()
        if path == "/wait":
            await asyncio.to_thread(released.wait, 60)
        await send({"type": "http.response.body", "body": body})

    def wait():
        yield "first "
        released.wait(60)
        yield "last"

    parts = []

    def large():
        for number in range(1000):
            parts.append(number)
            yield bytes(64 * 1024)

    def release():
        released.set()
        return "released"

    def run(settings):
        app = Flask("sample", static_folder=None)
        app.add_url_rule("/", "root", lambda: "hello")
        app.add_url_rule("/metrics", "metrics", lambda: "main port")
        app.add_url_rule("/writes", "writes", lambda: str(len(writes)))
        app.add_url_rule("/wait", "wait", wait)
        app.add_url_rule("/large", "large", large)
        app.add_url_rule("/parts", "parts", lambda: str(len(parts)))
        app.add_url_rule("/release", "release", release)
        app.add_url_rule("/nothing", "nothing", lambda: ("", 204))
        app.add_url_rule(
            "/size", "size", lambda: str(len(request.get_data())), methods=["POST"]
        )
        app.add_url_rule(
            "/version", "version", lambda: request.environ["SERVER_PROTOCOL"]
        )
        probes = Probes(Health({}), CollectorRegistry(), service="sample")
        mode = "asgi" if "asgi" in sys.argv else "wsgi"
        serving.serve(
            asgi if mode == "asgi" else app, settings, mode=mode, probes=probes,
            on_stop=lambda: print('{"stopped": 1}', flush=True),
        )

    serving.start("sample", Settings, run)
"""


class Served:
    """The sample service in its own process."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.port = ports.pick()
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SAMPLE), *arguments],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        eventually(self._accepts)

    def _accepts(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
        except OSError:
            return False
        return True

    def url(self, path: str, *, scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}{path}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url(path), verify=False, timeout=60)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


Serve = Callable[..., Served]


class Certificates:
    """Files of a server certificate, and a client context that trusts its authority."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.trust = self.issue()

    def issue(self) -> ssl.SSLContext:
        """Write a certificate of a new authority; return a context that trusts only it."""
        authority = trustme.CA()
        server = authority.issue_cert("localhost")
        self.certificate.write_bytes(b"".join(p.bytes() for p in server.cert_chain_pems))
        self.key.write_bytes(server.private_key_pem.bytes())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    def variables(self) -> dict[str, str]:
        return {"TLS_CERT_FILE": str(self.certificate), "TLS_KEY_FILE": str(self.key)}

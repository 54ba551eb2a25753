"""An HTTP proxy to the Debian mirror for machines without a network. It supports GET only."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_PASSED = ("If-Modified-Since", "If-Range", "Range", "Cache-Control")


class _Mirror(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if urlsplit(self.path).scheme != "http":
            self.send_error(403, "http alone")
            return
        wanted = {name: self.headers[name] for name in _PASSED if name in self.headers}
        try:
            with urlopen(Request(self.path, headers=wanted), timeout=60) as answer:
                body, status, headers = answer.read(), answer.status, answer.headers
        except HTTPError as error:
            with error:
                body, status, headers = error.read(), error.code, error.headers
        self.send_response(status)
        for name in ("Content-Type", "Last-Modified", "Content-Range"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def mirror() -> Iterator[int]:
    """The port of the proxy on all addresses of this host, until the end of the block."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), _Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

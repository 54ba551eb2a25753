"""An exporter of recorded samples. Its counters increase with time."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
_SAMPLE = re.compile(r"([a-z_]+)(\{.*\})? (\S+)\n?")


def aged(text: str, age: int) -> str:
    """The samples after a number of scrapes. Each scrape adds a tenth to counters and histograms."""
    lines = []
    growing = False
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            growing = line.split()[-1] in ("counter", "histogram")
        found = _SAMPLE.fullmatch(line)
        if found and growing:
            name, labels, value = found.groups()
            lines.append(f"{name}{labels or ''} {float(value) * (1 + age / 10)}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


@contextmanager
def exporting() -> Iterator[int]:
    """Serve each file of the data under its name; gives the port."""
    scrapes: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = DATA / f"{self.path.strip('/')}.prom"
            scrapes[self.path] = scrapes.get(self.path, 0) + 1
            body = aged(file.read_text("utf-8"), scrapes[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody wants to read about each scrape."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()

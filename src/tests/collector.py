"""A collector of traces: receives OTLP over HTTP and stores the spans."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Seen(Struct, frozen=True):
    """A received span."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    seconds: float


class Collector:
    """The spans that were received."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Seen] = []

    def of(self, trace: str) -> dict[tuple[str, str], Seen]:
        """The spans of a trace, by service and name."""
        return {(span.service, span.name): span for span in self.spans if span.trace == trace}

    def take(self, body: bytes) -> None:
        """Store the spans of a request. Raises DecodeError if the body is invalid."""
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {
                attribute.key: attribute.value.string_value
                for attribute in group.resource.attributes
            }
            for scope in group.scope_spans:
                self.spans += [
                    Seen(
                        about["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    )
                    for span in scope.spans
                ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.path == "/v1/traces"
            if known:
                collector.take(body)
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()

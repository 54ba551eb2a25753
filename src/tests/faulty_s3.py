"""An S3 (moto) behind a proxy that can fail, be slow, and be full."""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "faults"
#: The time of a slow request (seconds). It decides nothing.
_SLOW_SECONDS = 0.1


class FaultyS3(ThreadingHTTPServer):
    """Forwards requests to an S3.

    While ``faulty``, some requests fail before they arrive, some after, and some are slow. While
    ``full``, the S3 stores nothing.
    """

    daemon_threads = True

    def __init__(self, target: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = target
        self.random = random.Random(seed)
        self.faulty = False
        self.full = False
        self.faults = 0

    def copy_to(self, folder: Path) -> None:
        """Copy all objects to a folder."""
        client = _client(f"http://{self.target}")
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for item in page.get("Contents", ()):
                file = folder / item["Key"]
                file.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(BUCKET, item["Key"], str(file))


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.full and self.command in ("PUT", "POST"):
            self.answer(507, [], b"<Error><Code>XMinioStorageFull</Code></Error>")
            return
        fault = self.server.random.random() if self.server.faulty else 1.0
        self.server.faults += fault < 0.8
        if fault < 0.3:  # an error of the server
            self.answer(503, [], b"")
            return
        if fault < 0.5:  # slow
            time.sleep(_SLOW_SECONDS)
        connection = http.client.HTTPConnection(self.server.target, timeout=10)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if 0.5 <= fault < 0.8:  # the answer is lost
            self.close_connection = True
            return
        self.answer(response.status, response.getheaders(), content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_request  # noqa: N815

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        # The answer to HEAD has the length of the object, and no content.
        length = str(len(content))
        for name, value in headers:
            if name.lower() in ("etag", "last-modified", "content-type", "content-range"):
                self.send_header(name, value)
            elif name.lower() == "content-length" and self.command == "HEAD":
                length = value
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _client(url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b",
        region_name="us-east-1",
    )  # fmt: skip


@contextmanager
def faulty_s3(seed: int) -> Iterator[FaultyS3]:
    """A bucket behind a proxy, while the block runs. The proxy has faults while ``faulty``."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    _client(f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
    proxy = FaultyS3(f"{host}:{port}", seed=seed)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
        moto.stop()

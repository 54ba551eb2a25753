"""Request bodies: the token comes first, and memory is limited."""

import asyncio
import gzip
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from audit_event_generator.web import body, ingest_app
from audit_event_generator.web.gzip_stream import MAX_MEMBERS, GzipError, GzipStream
from audit_event_generator.web.ingest_app import MAX_BODIES
from auditflow.http.memory import MemoryBudget, OutOfMemoryBudget, Reservation

from .conftest import TOKEN, Answer, Ingest, RecordingBroker, make_client, make_scope

LIMIT = 16 * 2**20
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class Upload:
    """A request whose body arrives in parts. It counts the parts that the application reads."""

    def __init__(self, app: Any, headers: Mapping[str, str], parts: list[bytes]) -> None:
        self._app = app
        self._scope = make_scope("/ingest/ndjson", headers=headers)
        self._parts = parts
        self.read = 0
        self.waits = asyncio.Event()
        self._sent: list[Mapping[str, Any]] = []

    async def _receive(self) -> Mapping[str, Any]:
        if self.read == len(self._parts):
            self.waits.set()
            await asyncio.Event().wait()
        self.read += 1
        return {"type": "http.request", "body": self._parts[self.read - 1], "more_body": True}

    async def _send(self, message: Mapping[str, Any]) -> None:
        self._sent.append(message)

    async def run(self) -> Answer:
        await self._app(self._scope, self._receive, self._send)
        return Answer(self._sent)


def test_token_is_checked_before_the_body_is_kept(
    ingest: Ingest, broker: RecordingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> bytes:
        raise AssertionError("the body was read")

    monkeypatch.setattr(body, "read", fail)

    answer = ingest.client.post(
        "/ingest/ndjson", data=b"x" * 2**20, headers={"Authorization": "Bearer wrong"}
    )

    assert answer.status_code == 401
    assert broker.messages == []


def test_unfinished_bodies_share_a_limit(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "DISCARD_SECONDS", 0.1)

    # given 16 clients that send 15 MiB each and never finish
    async def upload() -> list[Answer]:
        part = b"x" * 2**20
        uploads = [Upload(ingest.client.app, AUTHORIZED, [part] * 15) for _ in range(16)]
        tasks = [asyncio.create_task(item.run()) for item in uploads]
        waiting = [asyncio.create_task(item.waits.wait()) for item in uploads]
        await asyncio.wait(waiting)
        # the refused requests are answered after their rest is discarded
        done: set[asyncio.Task[Answer]] = set()
        while len(done) < expected:
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.01)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return [task.result() for task in done]

    expected = 16 - MAX_BODIES // (15 * 2**20)

    # when the limit is reached
    refused = asyncio.run(upload())

    # then the others are refused and may send again
    assert len(refused) == expected
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    # and the memory is free again
    assert ingest.post("/ingest/ndjson", b"\n" * LIMIT).status_code == 202


@pytest.mark.parametrize("is_compressed", [False, True])
def test_bodies_that_are_too_large_together_are_refused(is_compressed: bool) -> None:
    content = b"x" * 5000
    sent = gzip.compress(content) if is_compressed else content
    messages = [{"type": "http.request", "body": sent, "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        return messages.pop()

    async def run() -> None:
        with Reservation(MemoryBudget(4999)) as reservation:
            await body.read(body.Incoming(receive), "", reservation, limit=10_000)

    with pytest.raises(body.BodyError) as error:
        asyncio.run(run())
    assert error.value.problem.status == 503


def test_bodies_without_a_checked_signature_have_a_limit_of_their_own(
    broker: RecordingBroker, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_app, "MAX_UNVERIFIED_BODIES", 1000)
    client = make_client(broker, registry, github_secret="secret")
    signature = {"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + "0" * 64}

    large = client.post("/ingest/github", data=b"x" * 1001, headers=signature)
    small = client.post("/ingest/github", data=b"x" * 1000, headers=signature)
    verified = client.post("/ingest/ndjson", data=b"\n" * 2000, headers=AUTHORIZED)

    assert [item.status_code for item in (large, small, verified)] == [503, 401, 202]


def test_slow_body_times_out(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(body, "DISCARD_SECONDS", 0.05)

    answer = asyncio.run(Upload(ingest.client.app, AUTHORIZED, [b"x"]).run())

    assert answer.status_code == 408


def test_disconnected_client_releases_its_memory() -> None:
    budget = MemoryBudget(100)
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"x" * 60, "more_body": True},
    ]

    async def receive() -> Mapping[str, Any]:
        return messages.pop()

    async def run() -> None:
        with Reservation(budget) as reservation:
            await body.read(body.Incoming(receive), "", reservation, limit=1000)

    with pytest.raises(body.ClientDisconnected):
        asyncio.run(run())
    assert budget.used == 0


def test_budget_is_not_exceeded() -> None:
    budget = MemoryBudget(10)
    with Reservation(budget) as first:
        first.add(6)
        with Reservation(budget) as second, pytest.raises(OutOfMemoryBudget):
            second.add(5)
        assert budget.used == 6
        first.add(4)
    assert budget.used == 0


def decompress(compressed: bytes, *, part: int = 2**16, limit: int = LIMIT) -> bytes:
    stream = GzipStream(limit=limit)
    content = b"".join(
        piece
        for start in range(0, len(compressed), part)
        for piece in stream.feed(compressed[start : start + part])
    )
    stream.finish()
    return content


@pytest.mark.parametrize("part", [1, 7, 4096, 10**6])
def test_members_are_joined_wherever_the_parts_end(part: int) -> None:
    texts = [b"first " * 5000, b"", b"second", b"x" * 5000]
    compressed = b"".join(gzip.compress(text) + b"\0" * 3 for text in texts)

    assert decompress(compressed, part=part) == b"".join(texts)


def test_number_of_members_is_limited() -> None:
    empty = gzip.compress(b"")

    assert decompress(empty * MAX_MEMBERS) == b""
    with pytest.raises(GzipError, match="more than 10000 members"):
        decompress(empty * (MAX_MEMBERS + 1))


def test_work_for_members_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a decompressor that counts the bytes that it gets
    fed = 0
    real = zlib.decompressobj

    class Counting:
        def __init__(self, **options: Any) -> None:
            self._real = real(**options)

        def decompress(self, compressed: bytes, limit: int) -> bytes:
            nonlocal fed
            fed += len(compressed)
            return self._real.decompress(compressed, limit)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    members = gzip.compress(b"") * 5000

    # when it decompresses many empty members that arrive at once
    decompress(members, part=len(members))

    # then each member costs at most one slice
    assert fed <= 5000 * 4096


def test_content_is_limited() -> None:
    with pytest.raises(OverflowError):
        decompress(gzip.compress(b"x" * 1001), limit=1000)
    assert len(decompress(gzip.compress(b"x" * 1000), limit=1000)) == 1000


DAMAGED = {
    "incomplete checksum": gzip.compress(b"text")[:-1],
    "incomplete content": gzip.compress(b"text")[:12],
    "wrong checksum": gzip.compress(b"text")[:-8] + b"\0" * 8,
    "other bytes after the end": gzip.compress(b"text") + b"rest",
    "other bytes": b"\x1f\x8b" + b"x" * 50,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_gzip_is_an_error(name: str) -> None:
    with pytest.raises(GzipError):
        decompress(DAMAGED[name])

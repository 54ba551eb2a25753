"""The REST API of archived events: answers, errors, callers, documents."""

import asyncio
import datetime as dt
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ParamSpec

import duckdb
import httpx
import msgspec
import pytest
from msgspec import UNSET
from prometheus_client import CollectorRegistry
from quart import Quart
from src.tests.archived_events import START_MS, FolderArchive, archived, write
from structlog.testing import capture_logs

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.events_api import app as events_app
from audit_analysis.events_api import export, running
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import Refusal, RemoteCallers
from audit_analysis.events_api.database import Cancellation, SearchDatabase, SearchLimits
from audit_analysis.events_api.parameters import ExportFormat
from audit_analysis.events_api.proofs import EventProofs
from auditflow.contract.access import Me, Role
from auditflow.contract.event_search import (
    ArchivedEventDetail,
    ArchivedEventList,
    EventFacets,
    EventHistogram,
)
from auditflow.errors import Unavailable
from auditflow.http.health import Health

NOW = dt.datetime.fromtimestamp(START_MS / 1000 + 3600, tz=dt.UTC)
VIEWER = {"Authorization": "Bearer viewer"}
ANALYST = {"Authorization": "Bearer analyst"}


P = ParamSpec("P")


def run_async(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


class KnownCallers:
    """Callers whose token is the name of their role."""

    async def authenticate(self, headers: dict[str, str]) -> Me:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token == "unavailable":
            raise Unavailable("notification-service", "no answer")
        if token not in list(Role):
            raise Refusal(401, "Send a valid API token: Authorization: Bearer <token>")
        return Me(name=f"the {token}", kind="token", role=Role(token), scopes=("alerts:read",))


def create(searches: ArchiveSearch) -> Quart:
    health = Health({})
    return events_app.create(searches, KnownCallers(), health, CollectorRegistry(), now=lambda: NOW)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Quart:
    folder = tmp_path_factory.mktemp("archive")
    events = [
        archived(number, user=("alice", "bob")[number % 2], host=f"web-{number % 3}")
        for number in range(250)
    ]
    events.append(archived(500, event_id="a/b", record=b"\xff", refused=True, reason="not JSON"))
    file = write(folder / "1.parquet", events[:200])
    database = SearchDatabase(SearchLimits(seconds=60), folders=[folder])
    return create(ArchiveSearch(FolderArchive([file], events[200:]), database))


async def get(
    api: Quart, path: str, headers: dict[str, str] | None = None, **query: Any
) -> tuple[int, bytes, Any]:
    answer = await api.test_client().get(
        path, query_string=query, headers=VIEWER if headers is None else headers
    )
    return answer.status_code, await answer.get_data(as_text=False), answer.headers


@run_async
async def test_pages_follow_each_other(api: Quart) -> None:
    found: list[str] = []
    query: dict[str, Any] = {"limit": 60, "refused": "false"}
    while True:
        status, body, _ = await get(api, "/api/v1/events", **query)
        assert status == 200
        page = msgspec.json.decode(body, type=ArchivedEventList)
        found += [event.event_id for event in page.events]
        if page.next_cursor is None:
            break
        query["cursor"] = page.next_cursor
    assert found == [f"e{number:05}" for number in reversed(range(250))]


@run_async
async def test_conditions_select_events(api: Quart) -> None:
    query: dict[str, Any] = {
        "user": "bob",
        "where": ["host|endswith=-1", "!record.event_id=e00001"],
    }
    _, body, _ = await get(api, "/api/v1/events", order="oldest", **query)
    page = msgspec.json.decode(body, type=ArchivedEventList)
    assert [event.event_id for event in page.events][:2] == ["e00007", "e00013"]
    assert {(event.user, event.host) for event in page.events} == {("bob", "web-1")}


@run_async
async def test_events_are_selected_by_identifiers(api: Quart) -> None:
    wanted = ["e00003", "a/b", "e00204", "unknown", "e00003"]
    _, body, _ = await get(api, "/api/v1/events", order="oldest", event_id=wanted)
    page = msgspec.json.decode(body, type=ArchivedEventList)
    assert [event.event_id for event in page.events] == ["e00003", "e00204", "a/b"]
    _, body, _ = await get(api, "/api/v1/events", user="bob", event_id=["e00003", "e00204"])
    page = msgspec.json.decode(body, type=ArchivedEventList)
    assert [event.event_id for event in page.events] == ["e00003"]


@run_async
async def test_an_event_is_shown_with_its_record(api: Quart) -> None:
    status, body, _ = await get(api, "/api/v1/events/e00042")
    event = msgspec.json.decode(body, type=ArchivedEventDetail)
    assert status == 200
    assert event.record is not UNSET
    assert bytes(event.record) == b'{"event_id":"e00042","user_id":"alice"}'
    status, body, _ = await get(api, "/api/v1/events/by-id", event_id="a/b")
    refused = msgspec.json.decode(body, type=ArchivedEventDetail)
    assert (refused.record, refused.record_base64, refused.reason) == (UNSET, "/w==", "not JSON")
    assert (await get(api, "/api/v1/events/unknown"))[0] == 404
    assert (await get(api, "/api/v1/events/by-id"))[0] == 400


@run_async
async def test_histogram_and_facets_count_all_events(api: Quart) -> None:
    _, body, _ = await get(api, "/api/v1/events/histogram", interval_seconds="600")
    histogram = msgspec.json.decode(body, type=EventHistogram)
    assert histogram.total == 251
    assert sum(bucket.count for bucket in histogram.buckets) == 251
    _, body, _ = await get(api, "/api/v1/events/facets", fields="user,host", limit="1")
    facets = msgspec.json.decode(body, type=EventFacets)
    assert [(facet.field, facet.values[0].count) for facet in facets.facets] == [
        ("user", 126), ("host", 84),
    ]  # fmt: skip


@run_async
async def test_exports_have_all_events(api: Quart, tmp_path: Path) -> None:
    status, body, headers = await get(api, "/api/v1/events/export", ANALYST)
    assert (status, headers["Content-Type"]) == (200, "application/x-ndjson")
    lines = msgspec.json.Decoder(ArchivedEventDetail).decode_lines(body)
    assert len(lines) == 251
    _, body, _ = await get(api, "/api/v1/events/export", ANALYST, format="parquet", user="bob")
    file = tmp_path / "export.parquet"
    file.write_bytes(body)
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT count(*), any_value(record) FROM read_parquet($file) WHERE \"user\" = 'bob'",
            {"file": str(file)},
        ).fetchall()
    assert rows[0][0] == 125


def names(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir()]


@run_async
async def test_parquet_exports_are_limited_in_size_and_number(
    api: Quart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Given a limit that the export exceeds
    monkeypatch.setattr(export, "MAX_FILE_BYTES", 1000)
    for _ in range(export.MAX_PARQUET_EXPORTS + 1):
        status, body, _ = await get(api, "/api/v1/events/export", ANALYST, format="parquet")
        assert status == 503
        assert b"Use a shorter time range" in body
        assert names(tmp_path) == []
    monkeypatch.undo()
    # and as many exports as may run, whose clients read nothing yet
    exports = [
        export.encode([[archived(1)]], ExportFormat.PARQUET)
        for _ in range(export.MAX_PARQUET_EXPORTS)
    ]
    assert all(next(parts) for parts in exports)
    # then a further one is refused, until one of them ends
    assert (await get(api, "/api/v1/events/export", ANALYST, format="parquet"))[0] == 503
    exports[0].close()  # type: ignore[attr-defined]
    assert (await get(api, "/api/v1/events/export", ANALYST, format="parquet"))[0] == 200
    for parts in exports:
        parts.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "query",
    [
        {"unknown": "1"}, {"limit": "0"}, {"limit": "501"}, {"cursor": "x"}, {"since": "today"},
        {"where": "user|like=a"}, {"user": "*"}, {"q": "\0"}, {"order": "random"},
        {"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
        {"cursor": "WyJuZXdlc3QiLDEsImUiXQ", "order": "oldest"},
        {"event_id": ["e"] * 101}, {"event_id": ""}, {"event_id": "e" * 257},
        {"since": "0001-01-01T00:00:00Z"}, {"until": "9999-12-31T23:59:59-14:00"},
    ],
)  # fmt: skip
@run_async
async def test_invalid_parameters_are_reported(api: Quart, query: dict[str, Any]) -> None:
    status, body, headers = await get(api, "/api/v1/events", **query)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert msgspec.json.decode(body)["errors"]


@run_async
async def test_callers_need_a_token_and_a_role(api: Quart) -> None:
    status, _, headers = await get(api, "/api/v1/events", {})
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="auditflow"')
    assert (await get(api, "/api/v1/events/export", VIEWER))[0] == 403
    assert (await get(api, "/api/v1/events", {"Authorization": "Bearer unavailable"}))[0] == 503


@run_async
async def test_hashes_of_files_need_the_role_lead_and_the_scope_of_audits(tmp_path: Path) -> None:
    class EmptyManifest:
        def paths(self) -> list[str]:
            return []

        def entries(self, paths: Sequence[str]) -> list[ArchiveFile]:
            return []

        def page(self, *, after: str, limit: int) -> list[ArchiveFile]:
            return []

        def log_number(self, path: str) -> int | None:
            return None

    class ScopedCallers:
        async def authenticate(self, headers: dict[str, str]) -> Me:
            role, *scopes = headers["Authorization"].removeprefix("Bearer ").split(",")
            return Me(name="a caller", kind="token", role=Role(role), scopes=tuple(scopes))

    database = SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    proofs = EventProofs(EmptyManifest(), database, address=str, sha256=lambda _: None)
    searches = ArchiveSearch(FolderArchive([], []), database)
    api = events_app.create(
        searches, ScopedCallers(), Health({}), CollectorRegistry(), proofs=proofs
    )
    for token, expected in (
        ("analyst,alerts:read,audit:read", 403),
        ("lead,alerts:read", 403),
        ("lead,alerts:read,audit:read", 200),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await get(api, "/api/v1/archive/files", headers))[0] == expected, token


@run_async
async def test_the_log_records_who_searched_for_what(api: Quart) -> None:
    with capture_logs() as entries:
        await get(api, "/api/v1/events", ANALYST, user="bob")
    (entry,) = [entry for entry in entries if entry["event"] == "archive searched"]
    assert entry["caller"] == "the analyst"
    assert entry["detail"]["user"] == "bob"


@run_async
async def test_the_openapi_document_describes_all_routes(api: Quart) -> None:
    status, body, _ = await get(api, "/openapi.json", {})
    document = msgspec.json.decode(body)
    assert status == 200
    assert set(document["paths"]) == {
        f"/api/v1/events{path}"
        for path in ("", "/by-id", "/export", "/facets", "/histogram", "/{event_id}")
    }
    assert "ArchivedEventSummary" in document["components"]["schemas"]


@run_async
async def test_a_search_without_a_client_is_cancelled() -> None:
    started, cancelled = threading.Event(), threading.Event()

    def search(cancellation: Cancellation) -> None:
        with cancellation.interrupting(cancelled.set):
            started.set()
            assert cancelled.wait(60)

    request = asyncio.create_task(running.run(search))
    assert await asyncio.to_thread(started.wait, 30)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await asyncio.to_thread(cancelled.wait, 30)


class _NotificationService(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        token = self.headers["Authorization"]
        if token == "Bearer good":
            body = {"name": self.headers["X-AuditFlow-User"], "kind": "person", "role": "analyst"}
            self._answer(200, msgspec.json.encode(body | {"scopes": ["alerts:read"]}))
        elif token == "Bearer broken":
            self._answer(200, b"<html>")
        else:
            self._answer(401, b'{"status":401,"title":"Unauthorized","detail":"No."}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def notification_service() -> Iterator[str]:
    _NotificationService.requests = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _NotificationService) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@run_async
async def test_the_notification_service_authenticates_callers(notification_service: str) -> None:
    async with httpx.AsyncClient() as client:
        callers = RemoteCallers(notification_service, client=client)
        alice = {"Authorization": "Bearer good", "X-AuditFlow-User": "alice"}
        for _ in range(3):
            assert (await callers.authenticate(alice)).name == "alice"
        assert _NotificationService.requests == 1  # the answer is reused
        assert (await callers.authenticate(alice | {"X-AuditFlow-User": "bob"})).name == "bob"
        for headers in ({}, {"Authorization": "Bearer bad"}, {"Authorization": "Bearer ü"}):
            with pytest.raises(Refusal) as refused:
                await callers.authenticate(headers)
            assert refused.value.status == 401
        with pytest.raises(Unavailable):
            await callers.authenticate({"Authorization": "Bearer broken"})
        with pytest.raises(Unavailable):
            await RemoteCallers("http://127.0.0.1:9", client=client).authenticate(alice)

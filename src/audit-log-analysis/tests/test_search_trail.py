"""Searches and hunts are entries of the audit trail, and are refused without an entry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from quart import Blueprint, Quart
from src.tests.archived_events import FolderArchive, archived, write

from audit_analysis.events_api import app as events_app
from audit_analysis.events_api import hunt_routes, ledger_routes, proof_routes, routes, trail
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import Refusal
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from auditflow.contract.audit import TrailReport
from auditflow.errors import Unavailable
from auditflow.http.health import Health

from .test_events_api import ANALYST, NOW, VIEWER, KnownCallers, get, run_async

EVENTS = 250


class KnownTrail:
    """Keeps entries. ``error`` is raised instead."""

    def __init__(self) -> None:
        self.entries: list[TrailReport] = []
        self.headers: list[Mapping[str, str]] = []
        self.error: Exception | None = None

    async def store(self, headers: Mapping[str, str], report: TrailReport) -> None:
        if self.error is not None:
            raise self.error
        self.entries.append(report)
        self.headers.append(headers)


@pytest.fixture
def stored() -> KnownTrail:
    return KnownTrail()


@pytest.fixture
def api(tmp_path: Path, stored: KnownTrail) -> Quart:
    events = [archived(number, user=("alice", "bob")[number % 2]) for number in range(EVENTS)]
    file = write(tmp_path / "1.parquet", events)
    searches = ArchiveSearch(
        FolderArchive([file], []), SearchDatabase(SearchLimits(seconds=60), folders=[tmp_path])
    )
    return events_app.create(
        searches, KnownCallers(), Health({}), CollectorRegistry(), trail=stored, now=lambda: NOW
    )


@run_async
async def test_an_entry_states_who_searched_for_what_and_the_number_of_results(
    api: Quart, stored: KnownTrail
) -> None:
    query: dict[str, Any] = {"where": ["host|endswith=-1", "user=bob"], "q": "x" * 150, "limit": 3}
    headers = {**ANALYST, "X-AuditFlow-User": "ann", "X-AuditFlow-Address": "203.0.113.7"}
    assert (await get(api, "/api/v1/events", headers, user="bob"))[0] == 200
    assert (await get(api, "/api/v1/events", headers, **query))[0] == 200
    assert (await get(api, "/api/v1/events/facets", headers, fields="user"))[0] == 200
    assert (await get(api, "/api/v1/events/histogram", headers))[0] == 200
    assert (await get(api, "/api/v1/events/e00042", headers))[0] == 200
    assert (await get(api, "/api/v1/events/none", headers))[0] == 404
    first, second, facets, histogram, event, missing = stored.entries
    assert (first.action, first.actor, first.outcome) == ("archive searched", "the analyst", "done")
    assert (first.detail["user"], first.detail["results"]) == ("bob", "100")
    assert first.detail["since"] < first.detail["until"]
    assert second.detail["where"] == "host|endswith=-1, user=bob"
    assert second.detail["results"] == "0"
    assert (facets.action, facets.detail["fields"]) == ("archive counted", "user")
    assert (histogram.action, histogram.detail["results"]) == ("archive counted", str(EVENTS))
    assert (event.action, event.target, event.outcome) == (
        "archived event shown", "e00042", "done",
    )  # fmt: skip
    assert (missing.target, missing.outcome) == ("none", "refused")
    assert {tuple(sorted(sent.items())) for sent in stored.headers} == {
        tuple(sorted(headers.items()))
    }


@run_async
async def test_an_export_is_recorded_before_its_first_byte_and_at_its_end(
    api: Quart, stored: KnownTrail
) -> None:
    status, body, _ = await get(api, "/api/v1/events/export", ANALYST, user="bob")
    assert (status, body.count(b"\n")) == (200, EVENTS // 2)
    begin, end = stored.entries
    assert (begin.action, "results" in begin.detail) == ("archive exported", False)
    assert (end.detail["results"], end.detail["complete"]) == (str(EVENTS // 2), "True")
    assert begin.detail.items() <= end.detail.items()
    # A refused export is recorded too.
    assert (await get(api, "/api/v1/events/export", VIEWER))[0] == 403
    assert (stored.entries[2].outcome, stored.entries[2].actor) == ("refused", "the viewer")


@run_async
async def test_without_an_entry_there_is_no_answer(api: Quart, stored: KnownTrail) -> None:
    paths = ("", "/facets", "/histogram", "/export", "/e00042")
    stored.error = Unavailable("notification-service", "no answer")
    for path in paths:
        status, body, _ = await get(api, f"/api/v1/events{path}", ANALYST)
        assert (status, b"e00042" in body) == (503, False), path
    stored.error = Refusal(401, "The token is revoked.")
    for path in paths:
        assert (await get(api, f"/api/v1/events{path}", ANALYST))[0] == 401, path
    # and searches run again when entries can be stored
    stored.error = None
    for path in paths:
        assert (await get(api, f"/api/v1/events{path}", ANALYST))[0] == 200, path


@run_async
async def test_the_same_read_is_recorded_once_a_minute(
    api: Quart, stored: KnownTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    for headers in (ANALYST, ANALYST, VIEWER):
        await get(api, "/api/v1/events", headers, user="bob")
    await get(api, "/api/v1/events", ANALYST, user="alice")
    assert [(entry.actor, entry.detail["user"]) for entry in stored.entries] == [
        ("the analyst", "bob"), ("the viewer", "bob"), ("the analyst", "alice"),
    ]  # fmt: skip
    monkeypatch.setattr(trail, "REPEAT_SECONDS", 0.0)
    await get(api, "/api/v1/events", ANALYST, user="bob")
    assert len(stored.entries) == 4


@run_async
async def test_many_and_strange_parameters_are_an_entry(api: Quart, stored: KnownTrail) -> None:
    query = {f"p{number}": "ü\0" * 400 for number in range(40)}
    assert (await get(api, "/api/v1/events", ANALYST, **query))[0] == 400
    (entry,) = stored.entries
    assert entry.outcome == "refused"
    assert len(entry.detail) <= 20
    assert all(len(value) <= 500 and "\0" not in value for value in entry.detail.values())


def test_every_route_is_recorded_or_excepted() -> None:
    anything: Any = None
    app = Quart("test")
    events = Blueprint("events", "test")
    for module in (routes, ledger_routes, hunt_routes):
        module.add(events, anything, lambda: NOW)
    ledger_routes.add_senders(events, anything)
    proof_routes.add(events, anything)
    app.register_blueprint(events)
    names = {name.rpartition(".")[2] for name in app.view_functions if name != "static"}
    assert names == set(trail.ACTIONS) | trail.NOT_RECORDED


@run_async
async def test_a_notification_service_that_does_not_answer_is_unavailable() -> None:
    async with httpx.AsyncClient() as client:
        remote = trail.RemoteTrail("http://127.0.0.1:9", client=client)
        with pytest.raises(Unavailable):
            await remote.store({}, TrailReport(actor="a", action="archive searched"))

"""Serves the API of archived events over a folder of files, with the callers of a real service."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from hypercorn.asyncio import serve
from prometheus_client import CollectorRegistry
from quart import Quart

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api import app as events_app
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import Refusal, RemoteCallers
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from auditflow.contract.access import Me, Role
from auditflow.http.connection_limit import ConnectionLimit
from auditflow.http.connections import ServerConfig
from auditflow.http.health import Health
from auditflow_local.polling import eventually

from .archived_events import FolderArchive, write


@contextmanager
def archive_server(
    folder: Path, events: Sequence[ArchivedEvent], *, port: int, api_url: str
) -> Iterator[None]:
    """The API on a port of 127.0.0.1, while the block runs. Half of the events are in a file."""
    half = len(events) // 2
    file = write(folder / "1.parquet", events[:half])
    database = SearchDatabase(SearchLimits(), folders=[folder])
    searches = ArchiveSearch(FolderArchive([file], events[half:]), database)
    client = httpx.AsyncClient(verify=False, trust_env=False)
    callers = RemoteCallers(api_url, client=client)
    app = events_app.create(searches, callers, Health({}), CollectorRegistry())
    app.after_serving(client.aclose)
    with served(app, port=port):
        yield


@contextmanager
def served(app: Quart, *, port: int) -> Iterator[str]:
    """Serve an application on a port of 127.0.0.1, while the block runs. Gives its address."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        # Other tests of this process may have replaced hypercorn's classes by ours.
        config = ServerConfig(f"127.0.0.1:{port}", limit=ConnectionLimit(100), grace=1)
        await serve(app, config, shutdown_trigger=stop.wait)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class RoleCallers:
    """Callers whose token is the name of their role."""

    async def authenticate(self, headers: dict[str, str]) -> Me:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in list(Role):
            raise Refusal(401, "Send a valid API token: Authorization: Bearer <token>")
        scopes = ("alerts:read", "alerts:write")
        return Me(name=f"the {token}", kind="token", role=Role(token), scopes=scopes)


def _wait(port: int) -> None:
    with httpx.Client(verify=False, trust_env=False, timeout=60) as client:

        def answers() -> bool:
            try:
                client.get(f"http://127.0.0.1:{port}/healthz")
            except httpx.TransportError:
                return False
            return True

        eventually(answers, what="the archive server")

"""The OpenAPI document, and the page that shows it."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from hypercorn.asyncio import serve
from playwright.sync_api import expect
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from quart import Quart
from src.tests.chromium import new_page, open_chromium

from auditflow.http.connection_limit import ConnectionLimit
from auditflow.http.connections import ServerConfig
from auditflow.http.health import Health
from auditflow.http.query_parameters import InvalidParameters
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.audit.trail import Trail, TrailMetrics
from notification_service.cursor import Cursors
from notification_service.database.access_store import AccessStore
from notification_service.database.alert_reader import AlertReader
from notification_service.database.change_feed import ChangeFeed
from notification_service.database.pool import Pool
from notification_service.database.trail_store import TrailStore
from notification_service.database.triage_store import TriageStore
from notification_service.metrics import Metrics
from notification_service.outbox.service import Notifications
from notification_service.query import parse
from notification_service.settings import Settings


def _settings() -> Settings:
    secret = SecretStr("none")
    return Settings(
        pg_user="none",
        pg_password=secret,
        rabbitmq_user="none",
        rabbitmq_pass=secret,
        api_token=secret,
    )


def _app() -> Quart:
    registry, none = CollectorRegistry(), Pool(None, size=1, wait_seconds=0)  # type: ignore[arg-type]
    return application.create(
        application.Stores(
            AlertReader(none),
            TriageStore(none),
            AccessStore(none),
            ChangeFeed(cast(Any, None), none),
            none,
            Notifications(_settings(), CollectorRegistry(), none, service="test"),
            trail=Trail(TrailStore(none), TrailMetrics(CollectorRegistry())),
        ),
        Health({}),
        registry,
        Metrics(registry),
        tokens=Tokens(SecretStr("t")),
    )


def _fetch(path: str) -> tuple[str, Any]:
    async def ask() -> tuple[str, Any]:
        answer = await _app().test_client().get(path)
        assert answer.status_code == 200
        return await answer.get_data(as_text=True), answer.headers

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(json.loads(_fetch("/openapi.json")[0]))


@pytest.fixture(scope="module")
def page() -> tuple[str, Any]:
    return _fetch("/docs")


def _walk(node: Any) -> Any:
    yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _walk(child)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {
        node["$ref"] for node in _walk(document) if isinstance(node, dict) and "$ref" in node
    }

    names = {reference.removeprefix("#/components/schemas/") for reference in references}
    assert names
    assert names <= document["components"]["schemas"].keys()


def _operations(document: dict[str, Any]) -> Any:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method} {path}", operation


def test_identifiers_of_operations_are_unique(document: dict[str, Any]) -> None:
    operations = dict(_operations(document))
    identifiers = [operation["operationId"] for operation in operations.values()]

    assert len(set(identifiers)) == len(identifiers)
    assert operations["get /api/v1/alerts"]["operationId"] == "get_list_alerts"
    assert operations["get /alerts"]["deprecated"] is True
    assert "deprecated" not in operations["get /api/v1/alerts"]


def test_each_route_documents_its_security_and_answers(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        assert operation["security"] == [{"token": []}], name
        assert {"200", "401", "503"} <= operation["responses"].keys(), name
        assert operation["summary"], name
        for code, answer in operation["responses"].items():
            kinds = set(answer["content"])
            if (
                name.endswith(("/stream", "/export", "/checkpoint", "/tile/{tile}"))
                and code == "200"
            ):
                assert kinds.isdisjoint({"application/json"})
            else:
                json_kind = "application/json" if code == "200" else "application/problem+json"
                assert kinds == {json_kind}, name
            assert answer["description"], name


def test_examples_have_the_fields_of_their_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in _operations(document):
        content = operation["responses"]["200"]["content"].get("application/json")
        if content is None:  # a stream
            continue
        schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        assert set(content["example"]) <= schema["properties"].keys(), name
        assert set(schema.get("required", ())) <= content["example"].keys(), name


def test_the_documented_parameters_are_those_that_are_taken(document: dict[str, Any]) -> None:
    documented = [it["name"] for it in document["paths"]["/alerts"]["get"]["parameters"]]

    with pytest.raises(InvalidParameters, match="unknown parameter; allowed are") as refused:
        parse([("?", "")], Cursors("t"))

    taken = refused.value.faults[0].what.partition("allowed are ")[2].split(", ")
    assert sorted(documented) == sorted(taken)


@contextmanager
def _served(app: Quart) -> Iterator[str]:
    """The URL of an application, served in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    address = f"fd://{listening.detach()}"  # the server closes it
    config = ServerConfig(address, limit=ConnectionLimit(100), grace=1)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[serve(app, config, shutdown_trigger=stop.wait)]
    )
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.mark.browser
def test_the_page_shows_every_route(document: dict[str, Any]) -> None:
    with _served(_app()) as url, open_chromium() as browser:
        page = new_page(browser)
        messages: list[str] = []
        requested: set[str] = set()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requested.add(request.url))

        page.goto(f"{url}/docs")
        operations = list(_operations(document))
        expect(page.locator(".opblock")).to_have_count(len(operations))
        page.locator(".opblock-summary-control").first.click()
        expect(page.get_by_role("button", name="Try it out")).to_be_visible()
    assert messages == []  # no violation of the content security policy
    assert {address.split("/")[2] for address in requested if "://" in address} == {
        url.removeprefix("http://")
    }


def test_the_page_needs_nothing_from_elsewhere(page: tuple[str, Any]) -> None:
    html, headers = page

    assert "<script>" not in html
    assert re.findall(r'(?:src|href)="(?:https?:)?//', html) == []
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["api-page.py", "..%2f..%2fapp.py", "vendor%2fswagger-ui.css"])
def test_only_the_files_of_the_page_are_served(name: str) -> None:
    assert asyncio.run(_app().test_client().get(f"/docs/{name}")).status_code == 404

"""The OpenAPI document and the page made from it."""

import asyncio
import json
import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.cursor import Cursors
from notification_service.database.reading import AlertReader
from notification_service.metrics import Metrics
from notification_service.query import BadQuery, parse


def _fetch(path: str) -> tuple[str, Any]:
    registry, reader = CollectorRegistry(), AlertReader(None)  # type: ignore[arg-type]
    tokens = Tokens(SecretStr("t"))
    app = application.create(reader, Health({}), registry, Metrics(registry), tokens=tokens)

    async def ask() -> tuple[str, Any]:
        answer = await app.test_client().get(path)
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


def test_routes_say_what_they_need_and_answer(document: dict[str, Any]) -> None:
    assert sorted(document["paths"]) == ["/alerts", "/alerts/{alert_id}"]
    for path in document["paths"].values():
        operation = path["get"]
        assert operation["security"] == [{"token": []}]
        assert {"200", "401", "503"} < operation["responses"].keys()
        assert operation["summary"]
        for code, answer in operation["responses"].items():
            (kind,) = answer["content"]
            assert kind == ("application/json" if code == "200" else "application/problem+json")
            assert answer["description"]


def test_examples_have_the_fields_of_their_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        content = path["get"]["responses"]["200"]["content"]["application/json"]
        schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        assert sorted(content["example"]) == sorted(schema["properties"])


def test_the_documented_parameters_are_those_that_are_taken(document: dict[str, Any]) -> None:
    documented = [one["name"] for one in document["paths"]["/alerts"]["get"]["parameters"]]

    with pytest.raises(BadQuery, match="no such parameter; there are") as refused:
        parse([("?", "")], Cursors("t"))

    taken = refused.value.faults[0].what.partition("there are ")[2].split(", ")
    assert sorted(documented) == sorted(taken)


def test_the_page_shows_every_route_parameter_and_model(
    page: tuple[str, Any], document: dict[str, Any]
) -> None:
    html, _ = page
    for path, operations in document["paths"].items():
        assert path in html
        for parameter in operations["get"]["parameters"]:
            assert f"<code>{parameter['name']}</code>" in html
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in html
    targets, anchors = re.findall(r'href="#(\w+)"', html), set(re.findall(r'id="(\w+)"', html))
    assert set(targets) <= anchors


def test_the_page_needs_nothing_from_elsewhere(page: tuple[str, Any]) -> None:
    html, headers = page

    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?:https?:)?//', html) == []
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")

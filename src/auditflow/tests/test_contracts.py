"""The published documents say what the code does."""

import json
from pathlib import Path

import pytest

from auditflow.contract import schemas

PUBLISHED = Path(__file__).parents[3] / "docs" / "contracts"


@pytest.mark.parametrize("name", schemas.documents())
def test_the_published_document_is_current(name: str) -> None:
    assert (PUBLISHED / name).read_text("utf-8") == schemas.documents()[name], "run: make schemas"


def test_only_three_fields_of_an_event_are_required() -> None:
    assert schemas.schema("event")["required"] == ["event_id", "timestamp", "event_type"]


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = schemas.asyncapi()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [reference for value in node.values() for reference in references(value)]
        return (
            [reference for value in node for reference in references(value)]
            if isinstance(node, list)
            else []
        )

    for reference in references(json.loads(json.dumps(document))):
        if reference.startswith("./"):
            assert (PUBLISHED / reference).is_file()
            continue
        node: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(node, dict)
            node = node[part]

"""The boards are current; every panel says what it shows, in which unit, and where to look next."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from grafana_foundation_sdk.models import units
from monitoring.boards import __main__ as boards

ROOT = Path(__file__).parents[3]
PLACE = "https://github.com/jojees/project-genesis/blob/main/"
DOCUMENTS = boards.documents()
UNITS = {
    value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)
}
#: The boards that alerts and pages link to.
WANTED = {
    f"auditflow-{name}"
    for name in (
        "slo",
        "services",
        "pipeline",
        "rabbitmq",
        "postgresql",
        "redis",
        "delivery",
        "cost",
    )
}


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in document["panels"] if one["type"] != "row"]


def test_the_files_are_those_of_the_code() -> None:
    wanted = boards.files()
    assert {file for file in wanted if file.suffix == ".json"} == set(
        (boards.HERE / "json").glob("*.json")
    ), "run `make boards`"
    for file, text in wanted.items():
        assert file.read_text("utf-8") == text, f"{file}: run `make boards`"


def test_every_board_that_is_linked_to_is_there() -> None:
    assert DOCUMENTS.keys() == WANTED
    for file in (ROOT / "monitoring/rules").glob("*.yaml"):
        for uid in re.findall(r"dashboard: /d/([\w-]+)", file.read_text()):
            assert uid in WANTED, f"{file}: {uid}"


@pytest.mark.parametrize("uid", sorted(WANTED))
def test_every_panel_explains_itself_and_leads_on(uid: str) -> None:
    seen = panels(DOCUMENTS[uid])
    assert len(seen) >= 6
    for panel in seen:
        assert panel["title"]
        assert len(panel["description"].split()) >= 2, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        (link,) = panel["links"]
        target = urlsplit(link["url"])
        if target.scheme:
            file = link["url"].removeprefix(PLACE)
            assert (ROOT / file).is_file(), f"{panel['title']}: {file} is not there"
        else:
            assert target.path.removeprefix("/d/") in WANTED - {uid}, panel["title"]
    titles = [(panel["title"], panel["gridPos"]["y"]) for panel in seen]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("uid", sorted(WANTED))
def test_panels_do_not_overlap(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DOCUMENTS[uid]["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert x < 24, panel["title"]
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} lies on {other}"


@pytest.mark.parametrize("uid", sorted(WANTED))
def test_the_reader_chooses_the_source_and_the_environment(uid: str) -> None:
    names = [one["name"] for one in DOCUMENTS[uid]["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
    for panel in panels(DOCUMENTS[uid]):
        for target in panel["targets"]:
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {
                "__rate_interval",
                "__range",
                "__interval",
            }
            assert used <= set(names), target["expr"]

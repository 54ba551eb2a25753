"""The dashboards are current, and every panel has a description, a unit and a link."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from grafana_foundation_sdk.models import units
from monitoring.boards import __main__ as boards

ROOT = Path(__file__).parents[3]
BASE_URL = "https://github.com/jojees/project-genesis/blob/main/"
DOCUMENTS = boards.documents()
UNITS = {
    value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)
}
#: The dashboards that alerts and pages link to.
EXPECTED_UIDS = {
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
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def test_generated_files_are_current() -> None:
    wanted = boards.files()
    assert {file for file in wanted if file.suffix == ".json"} == set(
        (boards.HERE / "json").glob("*.json")
    ), "run `make boards`"
    for file, text in wanted.items():
        assert file.read_text("utf-8") == text, f"{file}: run `make boards`"


def test_every_linked_dashboard_exists() -> None:
    assert DOCUMENTS.keys() == EXPECTED_UIDS
    for file in (ROOT / "monitoring/rules").glob("*.yaml"):
        for uid in re.findall(r"dashboard: /d/([\w-]+)", file.read_text()):
            assert uid in EXPECTED_UIDS, f"{file}: {uid}"


@pytest.mark.parametrize("uid", sorted(EXPECTED_UIDS))
def test_every_panel_has_a_description_a_unit_and_a_link(uid: str) -> None:
    all_panels = panels(DOCUMENTS[uid])
    assert len(all_panels) >= 6
    for panel in all_panels:
        assert panel["title"]
        assert len(panel["description"].split()) >= 2, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        (link,) = panel["links"]
        target = urlsplit(link["url"])
        if target.scheme:
            file = link["url"].removeprefix(BASE_URL)
            assert (ROOT / file).is_file(), f"{panel['title']}: {file} does not exist"
        else:
            assert target.path.removeprefix("/d/") in EXPECTED_UIDS - {uid}, panel["title"]
    titles = [(panel["title"], panel["gridPos"]["y"]) for panel in all_panels]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("uid", sorted(EXPECTED_UIDS))
def test_panels_do_not_overlap(uid: str) -> None:
    occupied: dict[tuple[int, int], str] = {}
    for panel in DOCUMENTS[uid]["panels"]:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            assert x < 24, panel["title"]
            for y in range(position["y"], position["y"] + position["h"]):
                other = occupied.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} overlaps {other}"


@pytest.mark.parametrize("uid", sorted(EXPECTED_UIDS))
def test_queries_use_the_selected_data_source_and_environment(uid: str) -> None:
    names = [variable["name"] for variable in DOCUMENTS[uid]["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
    for panel in panels(DOCUMENTS[uid]):
        for target in panel["targets"]:
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {
                "__rate_interval",
                "__range",
                "__interval",
            }
            assert used <= set(names), target["expr"]

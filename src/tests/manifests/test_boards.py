"""The dashboards are in the cluster in the form that the sidecar of Grafana reads."""

import json
from pathlib import Path
from typing import Any


def test_each_board_is_a_config_map(kit: Any, root: Path) -> None:
    maps = kit.render(root / "monitoring/boards")
    assert {item["kind"] for item in maps} == {"ConfigMap"}
    files = {file.stem for file in (root / "monitoring/boards/json").glob("*.json")}
    assert {item["metadata"]["name"] for item in maps} == files
    for item in maps:
        assert item["metadata"]["namespace"] == "monitoring"
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((file, text),) = item["data"].items()
        assert json.loads(text)["uid"] == Path(file).stem == item["metadata"]["name"]

"""The boards come into the cluster as Grafana's sidecar wants them."""

import json
from pathlib import Path
from typing import Any


def test_each_board_is_a_config_map(kit: Any, root: Path) -> None:
    maps = kit.render(root / "monitoring/boards")
    assert {one["kind"] for one in maps} == {"ConfigMap"}
    files = {file.stem for file in (root / "monitoring/boards/json").glob("*.json")}
    assert {one["metadata"]["name"] for one in maps} == files
    for one in maps:
        assert one["metadata"]["namespace"] == "monitoring"
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((file, text),) = one["data"].items()
        assert json.loads(text)["uid"] == Path(file).stem == one["metadata"]["name"]

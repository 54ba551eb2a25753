"""Write the dashboards and their Kustomization: ``python -m monitoring.boards``."""

import json
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from monitoring.boards import (
    cost,
    delivery,
    pipeline,
    postgresql,
    rabbitmq,
    redis,
    services,
    slo,
)  # fmt: skip

HERE: Final = Path(__file__).parent
BOARDS: Final = tuple(
    module.BOARD
    for module in (slo, services, pipeline, rabbitmq, postgresql, redis, delivery, cost)
)


def documents() -> dict[str, dict[str, Any]]:
    """The dashboards as JSON documents, by uid."""
    return {
        board.uid: json.loads(json.dumps(board.build(), cls=JSONEncoder, sort_keys=True))
        for board in BOARDS
    }


def files() -> dict[Path, str]:
    """The expected content of every generated file."""
    generated = {
        HERE / "json" / f"{uid}.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for uid, document in documents().items()
    }
    config_maps = "".join(
        f"- name: {board.uid}\n  files: [json/{board.uid}.json]\n"
        for board in sorted(BOARDS, key=lambda board: board.uid)
    )
    generated[
        HERE / "kustomization.yaml"
    ] = f"""# Written by `make boards`: one ConfigMap for each dashboard.
namespace: monitoring
configMapGenerator:
{config_maps}generatorOptions:
  disableNameSuffixHash: true # Grafana's sidecar finds the ConfigMaps by label and reloads them
  labels:
    grafana_dashboard: "1"
"""
    return generated


def write() -> None:
    """Write all files and delete the files of removed dashboards."""
    (HERE / "json").mkdir(exist_ok=True)
    expected = files()
    for file, text in expected.items():
        file.write_text(text, encoding="utf-8")
    for file in set((HERE / "json").glob("*.json")) - expected.keys():
        file.unlink()


if __name__ == "__main__":
    write()

"""Write the boards, and what packs them for a cluster: ``python -m monitoring.boards``."""

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
    """Each board as a JSON document, by its uid."""
    return {
        one.uid: json.loads(json.dumps(one.build(), cls=JSONEncoder, sort_keys=True))
        for one in BOARDS
    }


def files() -> dict[Path, str]:
    """Every file as it is to be."""
    made = {
        HERE / "json" / f"{uid}.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for uid, document in documents().items()
    }
    maps = "".join(
        f"- name: {one.uid}\n  files: [json/{one.uid}.json]\n"
        for one in sorted(BOARDS, key=lambda one: one.uid)
    )
    made[HERE / "kustomization.yaml"] = f"""# Made by `make boards`: a ConfigMap for each board.
namespace: monitoring
configMapGenerator:
{maps}generatorOptions:
  disableNameSuffixHash: true # Grafana's sidecar looks for the label, and follows changes
  labels:
    grafana_dashboard: "1"
"""
    return made


def write() -> None:
    """Make all files anew, and take away those of boards that are gone."""
    (HERE / "json").mkdir(exist_ok=True)
    wanted = files()
    for file, text in wanted.items():
        file.write_text(text, encoding="utf-8")
    for file in set((HERE / "json").glob("*.json")) - wanted.keys():
        file.unlink()


if __name__ == "__main__":
    write()

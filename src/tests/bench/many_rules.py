"""Generate any number of different rules of the kinds in public rule sets."""

import random
from pathlib import Path
from typing import Any, Final

import yaml

_FIELDS: Final = ("details.command", "resource", "user_id", "details.note", "client_ip")
_WORDS: Final = ("curl", "base64", "nc", "python", "wget", "chmod", "crontab", "ssh", "tar", "dd")


def write(folder: Path, number: int, *, seed: int = 2) -> None:
    """Write ``number`` rules into a folder, one file for each hundred."""
    rng = random.Random(seed)
    rules = [_rule(rng, index) for index in range(number)]
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, number, 100):
        text = yaml.safe_dump_all(rules[start : start + 100], sort_keys=False)
        (folder / f"{start:05}.yml").write_text(text, encoding="utf-8")


def _rule(rng: random.Random, index: int) -> dict[str, Any]:
    name = f"{rng.choice(_WORDS)}-{index:05}"
    field = rng.choice(_FIELDS)
    selection: dict[str, Any] = rng.choice(
        [
            {field: name},
            {f"{field}|contains": [f" {name} ", f"/{name}/"]},
            {f"{field}|startswith": f"/usr/bin/{name}", "action_result": "SUCCESS"},
            {f"{field}|endswith": f"/{name}", "event_type": "sudo_command"},
            {f"{field}|contains|all": [name, f"--{name}"]},
            {f"{field}|re": rf"{name}\s+-[a-z]+"},
            {f"{field}|contains": name, "client_ip|cidr": "192.0.2.0/24"},
        ]
    )
    category = rng.choice(["process_creation", "file_event", "authentication"])
    return {
        "title": f"Rule {index}",
        "id": f"50000000-0000-4000-8000-{index:012}",
        "logsource": {"product": "auditflow", "category": category},
        "detection": {
            "selection": selection,
            "filter": {"user_id|startswith": "svc-"},
            "condition": "selection and not filter",
        },
        "level": "low",
    }
